// A decoder whose layers are divided among back ends: the same results, whatever the cut.
#include <cctype>

#include "engine/run/verify.h"
#include "tests/decode/decoder_fixture.h"
#include "tests/support/check_capture.h"

namespace gs {
namespace {

using namespace test;

/// Runs a golden model with all cuts between `low` and `high`, and in single layers that alternate.
void expect_golden_at_every_cut(const std::string& name, const OpsFactory& low, const OpsFactory& high) {
    const int n_layers = golden_model(name)->spec.n_layers;
    ASSERT_GE(n_layers, 2);
    std::vector<std::vector<int>> divisions;
    for (int cut = 1; cut < n_layers; ++cut) divisions.push_back({cut, n_layers});
    if (n_layers > 2) {
        divisions.emplace_back();
        for (int l = 0; l < n_layers; ++l) divisions.back().push_back(l + 1);
    }
    for (const std::vector<int>& ends : divisions) {
        const auto stages = [&](int) {
            std::vector<StageEngine> engines;
            for (const int end : ends) engines.push_back({engines.size() % 2 == 0 ? low() : high(), engines.empty() ? 0 : engines.back().end_layer, end});
            return engines;
        };
        const Result<std::vector<VerifyCase>> cases = verify_golden(golden("models/" + name), low, stages);
        ASSERT_TRUE(cases) << cases.error().message();
        EXPECT_GE(cases->size(), 12u);
        for (const VerifyCase& c : *cases) EXPECT_TRUE(c.pass) << c.name << ", " << ends.size() << " stages, first ends at " << ends[0] << ": " << c.detail;
    }
}

class Stages : public testing::TestWithParam<const char*> {};

TEST_P(Stages, OfReferenceAndProcessorReproduceTheGolden) { expect_golden_at_every_cut(GetParam(), make_reference_ops, exact_ops); }

// Dense layers before the routed ones, latent attention, queries that grow, a shared expert, rotation by divisors, windows with sinks, weighed inputs.
INSTANTIATE_TEST_SUITE_P(Families, Stages, testing::Values("deepseek2-v3", "glm4moe", "gpt-oss-mxfp4", "llama4-local-base", "mixtral", "phimoe-long", "qwen2moe"),
                         [](const auto& row) {
                             std::string name = row.param;
                             for (char& c : name)
                                 if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                             return name;
                         });

TEST(StagesOnADevice, ReproduceTheGolden) {
    for (const char* name : {"glm4moe", "gpt-oss-mxfp4", "qwen2moe"}) expect_golden_at_every_cut(name, exact_ops, [] { return emulated(); });
}

std::unique_ptr<Decoder> divided(std::shared_ptr<const Model> model, const std::vector<StageEngine>& stages, const DecoderOptions& options = {}) {
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(std::move(model), stages, options);
    EXPECT_TRUE(decoder) << (decoder ? "" : decoder.error().message());
    return decoder ? std::move(*decoder) : nullptr;
}

TEST(StagesOfOneBackEnd, GiveTheSameBits) {
    // The fast path rearranges weights when it adopts them: those of all stages, though it is told them for each.
    const auto model = bundled_model();
    const int n = model->spec.n_layers;
    const std::vector<int32_t> ids = some_ids(*model, 9);
    const std::shared_ptr<Ops> ops = make_cpu_ops({.n_threads = 2});
    const Pass whole = run_pass(*make_decoder(model, {.n_ctx = 32}, ops), ids);
    const auto decoder = divided(model, {{ops, 0, 7}, {ops, 7, 8}, {ops, 8, n}}, {.n_ctx = 32, .max_batch = 5});
    const Pass cut = run_pass(*decoder, ids);
    const Pass as_cut = run_pass(*make_decoder(model, {.n_ctx = 32, .max_batch = 5}, ops), ids);
    EXPECT_EQ(cut.logits, as_cut.logits);
    ASSERT_EQ(cut.routes.size(), whole.routes.size());
    for (size_t i = 0; i < cut.routes.size(); ++i) {
        EXPECT_EQ(cut.routes[i].moe_layer, as_cut.routes[i].moe_layer);
        EXPECT_EQ(cut.routes[i].ids, as_cut.routes[i].ids);
    }
    EXPECT_EQ(decoder->kv_bytes(), make_decoder(model, {.n_ctx = 32}, ops)->kv_bytes());
}

TEST(StagesOfOneBackEnd, TakeTheirOwnLayersOfAPolicy) {
    const auto model = golden_model("glm4moe");
    const int n = model->spec.n_layers, n_moe = static_cast<int>(model->spec.moe_layers.size());
    ASSERT_LT(n_moe, n) << "with a dense layer the two are numbered differently";
    ASSERT_GE(n_moe, 2);
    const std::vector<int32_t> ids = some_ids(*model, 6);
    const auto cut = divided(model, {{exact_ops(), 0, n - 1}, {exact_ops(), n - 1, n}}), whole = make_decoder(model);
    for (const char* text : {"k=1", "k@0=3", "k@2=1", "rule@2=soft"}) {
        cut->set_policy(policy(text));
        whole->set_policy(policy(text));
        const Pass a = run_pass(*cut, ids), b = run_pass(*whole, ids);
        EXPECT_EQ(a.logits, b.logits) << text;
        ASSERT_EQ(a.routes.size(), b.routes.size());
        for (size_t i = 0; i < a.routes.size(); ++i) EXPECT_EQ(a.routes[i].ids, b.routes[i].ids) << text;
    }
}

TEST(StageProbe, LooksAtALayerWhereverItIsAndLeavesTheCacheAsItWas) {
    for (const char* name : {"qwen2moe", "llama4-local-base"}) {
        const auto model = golden_model(name);
        const int n = model->spec.n_layers, n_moe = static_cast<int>(model->spec.moe_layers.size());
        const std::vector<int32_t> ids = some_ids(*model, 8), next = {ids[3]};
        const auto whole = make_decoder(model);
        run_pass(*whole, ids);
        const std::vector<float> expected = run_pass(*whole, next, 8).logits;
        for (int cut = 1; cut < n; ++cut) {
            const auto decoder = divided(model, {{exact_ops(), 0, cut}, {exact_ops(), cut, n}});
            run_pass(*decoder, ids);
            RouteList routes;
            decoder->set_sink(&routes);
            for (int m = 0; m < n_moe; ++m) {
                const Result<Decoder::Probe> a = decoder->probe(ids[5], 5, m), b = whole->probe(ids[5], 5, m);
                ASSERT_TRUE(a && b);
                EXPECT_EQ(a->router_logits, b->router_logits) << name << " cut at " << cut << ", MoE layer " << m;
                EXPECT_EQ(a->expert_outputs, b->expert_outputs);
                EXPECT_EQ(a->shared_output, b->shared_output);
            }
            EXPECT_EQ(routes.n_calls, 0);
            EXPECT_EQ(run_pass(*decoder, next, 8).logits, expected) << name << " cut at " << cut;
        }
    }
}

TEST(StagesOfADecoder, MustHoldAllLayersInTurn) {
    const auto model = golden_model("mixtral");
    const int n = model->spec.n_layers;
    ASSERT_EQ(n, 2);
    const auto ops = exact_ops();
    const std::vector<StageEngine> one_missing{{ops, 0, 1}}, late{{ops, 1, 2}}, empty{{ops, 0, 0}, {ops, 0, 2}};
    EXPECT_CHECK_FAILS(Decoder::create(model, one_missing, {}), "hold all layers");
    EXPECT_CHECK_FAILS(Decoder::create(model, late, {}), "follow one another");
    EXPECT_CHECK_FAILS(Decoder::create(model, empty, {}), "follow one another");
}

TEST(StagesOfADecoder, NameTheSizesOfTheOneThatFindsNoMemory) {
    const auto model = golden_model("mixtral");
    const auto small = std::make_shared<LimitedOps>(exact_ops());
    small->n_floats_left = 20000;
    const std::vector<StageEngine> stages{{exact_ops(), 0, 1}, {small, 1, 2}};
    const auto decoder = Decoder::create(model, stages, {.n_ctx = 256});
    ASSERT_FALSE(decoder);
    EXPECT_EQ(decoder.error().code, "out_of_memory");
}

}  // namespace
}  // namespace gs
