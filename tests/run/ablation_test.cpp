#include "engine/run/ablation.h"

#include <cmath>

#include "engine/run/ablation_export.h"
#include "tests/run/planted_layer.h"

namespace gs {
namespace {

using namespace test;

constexpr AblationMode kModes[] = {AblationMode::kZero, AblationMode::kRouteAround, AblationMode::kSwap};

std::vector<AblatedExpert> experts(const char* text, AblationMode mode, int to = -1) {
    const auto parsed = parse_ablated(text, mode, to);
    EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message());
    return parsed ? *parsed : std::vector<AblatedExpert>{};
}

TEST(AblatedExperts, TextAndPolicyForms) {
    EXPECT_EQ(experts("7:3,9:1", AblationMode::kZero), (std::vector<AblatedExpert>{{7, 3, AblationMode::kZero, -1}, {9, 1, AblationMode::kZero, -1}}));
    EXPECT_EQ(experts("7:3>5,7:4", AblationMode::kSwap, 2), (std::vector<AblatedExpert>{{7, 3, AblationMode::kSwap, 5}, {7, 4, AblationMode::kSwap, 2}}));
    for (const char* bad : {"", "7", "7:", "7:x", ":3", "7:3,", "7:3>5", "-1:3", "7:3:1"}) EXPECT_FALSE(parse_ablated(bad, AblationMode::kZero)) << bad;
    EXPECT_FALSE(parse_ablated("7:3", AblationMode::kSwap)) << "says not who runs instead";
    EXPECT_FALSE(parse_ablated("7:3>", AblationMode::kSwap, 2));
    const Policy base = policy("k=2,mask@1=0,k@3=1");
    EXPECT_EQ(with_ablation(base, experts("1:5,1:2,3:4", AblationMode::kZero)).to_text(), "k=2,mask@1=0,k@3=1,zero@1=2:5,zero@3=4");
    EXPECT_EQ(with_ablation(base, experts("1:5", AblationMode::kRouteAround)).for_layer(1, 8).masked, (std::vector<uint8_t>{1, 0, 0, 0, 0, 1, 0, 0}));
    EXPECT_EQ(with_ablation({}, experts("2:1>3", AblationMode::kSwap)).to_text(), "swap@2=1>3");
}

TEST(AblatedExperts, TakingBackGivesThePolicyOfBefore) {
    for (const char* text : {"native", "k=2,mask@1=0,k@3=1", "k@1=2", "zero@1=6", "temp@*=0.5"})
        for (const AblationMode mode : kModes) {
            const Policy base = policy(text);
            const std::vector<AblatedExpert> set = experts("1:5,1:2,3:4", mode, mode == AblationMode::kSwap ? 7 : -1);
            const Policy ablated = with_ablation(base, set);
            EXPECT_NE(ablated, base);
            EXPECT_EQ(without_ablation(ablated, set), base) << text << " " << ablated.to_text();
            const auto read_back = Policy::parse(ablated.to_text());
            ASSERT_TRUE(read_back);
            EXPECT_EQ(*read_back, ablated) << ablated.to_text();
            for (const AblatedExpert& e : set) {
                const auto in = ablated_in(ablated);
                EXPECT_NE(std::find(in.begin(), in.end(), e), in.end());
            }
        }
}

TEST(AblatedExperts, AreCheckedAgainstTheModel) {
    const ModelSpec& spec = golden_model("mixtral")->spec;
    EXPECT_TRUE(check_ablated(experts("0:1,1:1", AblationMode::kZero), spec));
    for (const char* bad : {"99:0", "0:99", "0:1,0:1"}) EXPECT_FALSE(check_ablated(experts(bad, AblationMode::kZero), spec)) << bad;
    for (const char* bad : {"0:1>1", "0:1>99", "0:1>2,0:2>3"}) EXPECT_FALSE(check_ablated(experts(bad, AblationMode::kSwap), spec)) << bad;
    EXPECT_FALSE(check_ablated({}, spec));
}

/// Usage 10 · (e + 1): near 100 (25 %: 75 to 125) are 80, 90, 110 and 120.
TEST(Controls, AreDrawnFromTheSameLayerAtNearUsageAndRepeatWithTheSeed) {
    std::vector<std::vector<int64_t>> use(3, std::vector<int64_t>(20));
    for (int e = 0; e < 20; ++e) use[1][static_cast<size_t>(e)] = 10 * (e + 1), use[2][static_cast<size_t>(e)] = 100;
    const std::vector<int> layers = {4, 6, 9};
    const auto set = experts("6:9", AblationMode::kZero);
    const ControlDraw draw = draw_controls(use, layers, set, 4, 7);
    std::vector<int> drawn;
    for (const auto& control : draw.sets) {
        ASSERT_EQ(control.size(), 1u);
        EXPECT_EQ(control[0].layer, 6);
        EXPECT_EQ(control[0].mode, AblationMode::kZero);
        drawn.push_back(control[0].expert);
    }
    std::sort(drawn.begin(), drawn.end());
    EXPECT_EQ(drawn, (std::vector<int>{7, 8, 10, 11}));
    EXPECT_EQ(draw.note, "");
    EXPECT_EQ(draw_controls(use, layers, set, 4, 7).sets, draw.sets);
    EXPECT_EQ(draw_controls(use, layers, set, 9, 7).sets.size(), 4u) << "there are no more";
    EXPECT_NE(draw_controls(use, layers, set, 9, 7).note.find("4 such controls, not 9"), std::string::npos);
    // Several experts: distinct members of every set, distinct sets, never an ablated one, never the one that runs instead.
    const auto many = experts("9:3>5,9:4,6:2", AblationMode::kSwap, 5);
    const ControlDraw wide = draw_controls(use, layers, many, 30, 1);
    ASSERT_EQ(wide.sets.size(), 30u);
    bool differs = false;
    for (const auto& control : wide.sets) {
        EXPECT_NE(control[0].expert, control[1].expert);
        for (const AblatedExpert& e : control) EXPECT_TRUE(e.layer != 9 || (e.expert != 3 && e.expert != 4 && e.expert != 5));
        differs = differs || control != wide.sets[0];
    }
    EXPECT_TRUE(differs);
    EXPECT_NE(draw_controls(use, layers, many, 30, 2).sets, wide.sets) << "another seed";
}

TEST(Controls, SaySoWhereNoneIsNear) {
    const std::vector<std::vector<int64_t>> use = {{1000, 10, 20, 30, 40, 50}};
    const std::vector<int> layers = {3};
    const ControlDraw draw = draw_controls(use, layers, experts("3:0", AblationMode::kZero), 4, 1);
    std::vector<int> drawn;
    for (const auto& control : draw.sets) drawn.push_back(control[0].expert);
    std::sort(drawn.begin(), drawn.end());
    EXPECT_EQ(drawn, (std::vector<int>{2, 3, 4, 5})) << "the nearest four";
    EXPECT_NE(draw.note.find("1000 tokens"), std::string::npos) << draw.note;
    EXPECT_NE(draw.note.find("20 to 50"), std::string::npos) << draw.note;
    EXPECT_TRUE(draw_controls({{5}}, layers, experts("3:0", AblationMode::kZero), 4, 1).sets.empty());
}

TEST(Ablation, EqualsTheScoreOfTheSamePolicy) {
    for (const char* name : {"mixtral", "granitemoe-shared", "llama4", "gpt-oss", "deepseek2-lite"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model);
        const std::vector<int32_t> ids = some_ids(*model, 90);
        const EvaluateOptions options{.first_scored = 2, .window = 70};
        const int layer = model->spec.moe_layers.back();
        for (const AblationMode mode : kModes) {
            AblationRequest request{.experts = {{layer, 1, mode, mode == AblationMode::kSwap ? 0 : -1}}, .n_controls = 2};
            request.base = policy("k=2");
            const auto result = measure_ablation(*decoder, ids, request, options);
            ASSERT_TRUE(result) << name << ": " << result.error().message();
            const std::vector<Policy> policies = {request.base, with_ablation(request.base, request.experts)};
            const auto scores = score_policies(*decoder, ids, request.base, policies, options);
            ASSERT_TRUE(scores);
            EXPECT_EQ(result->effect.kl, (*scores)[1].kl) << name;
            EXPECT_EQ(result->effect.n_scored, (*scores)[1].n_scored);
            EXPECT_EQ(result->effect.flip_rate, 1 - (*scores)[1].top1_agreement);
            EXPECT_NEAR(result->effect.delta_logprob, std::log((*scores)[0].perplexity) - std::log((*scores)[1].perplexity), 1e-9) << name;
            EXPECT_TRUE(result->complete);
            EXPECT_LE(result->controls.size(), 2u);
            for (const AblationControl& c : result->controls) {
                EXPECT_EQ(c.effect.n_scored, result->effect.n_scored);
                EXPECT_NE(c.experts[0].expert, 1);
            }
        }
    }
}

/// In a layer where the best expert has all of the weight, an expert that is never the best does nothing when zeroed; the best of every token does.
TEST(Ablation, OnlyExpertsThatContributeHaveAnEffect) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 60);
    const int layer = model->spec.moe_layers.front(), n = model->spec.router.n_experts;
    std::string masked;
    for (int e = 1; e < n; ++e) masked += (e > 1 ? ":" : "") + std::to_string(e);
    AblationRequest request{.experts = {{layer, 2, AblationMode::kZero, -1}}, .n_controls = 0};
    request.base = policy(("mask@" + std::to_string(layer) + "=" + masked).c_str());   // expert 0 alone
    const auto none = measure_ablation(*decoder, ids, request, {});
    ASSERT_TRUE(none) << none.error().message();
    EXPECT_EQ(none->used, std::vector<int64_t>{0});
    EXPECT_EQ(none->effect.kl, 0);
    EXPECT_EQ(none->effect.flip_rate, 0);
    request.experts[0].expert = 0;
    const auto all = measure_ablation(*decoder, ids, request, {});
    ASSERT_TRUE(all);
    EXPECT_EQ(all->used, std::vector<int64_t>{60});
    EXPECT_GT(all->effect.kl, 1e-6);
    // With the weight of every token at 0 the layer's routed sum is gone: as if the experts were never there.
    request.experts[0].mode = AblationMode::kRouteAround;
    EXPECT_FALSE(measure_ablation(*decoder, ids, request, {})) << "leaves no expert";
}

TEST(Ablation, WritesBothAnswersAndTheBandIsOfItsControls) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    AblationRequest request{.experts = {{model->spec.moe_layers[0], 0, AblationMode::kRouteAround, -1}}, .n_controls = 3, .seed = 5};
    request.continuation = {.prompt = "Hello World", .mode = PromptMode::kRaw, .max_new_tokens = 6, .sampler = {.temperature = 0}};
    double last = 0;
    const auto result = measure_ablation(*decoder, some_ids(*model, 70), request, {}, [&](const AblationResult&, double fraction) {
        EXPECT_GE(fraction, last - 1e-9);
        last = fraction;
    });
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(last, 1);
    ASSERT_TRUE(result->text);
    EXPECT_EQ(result->text->n_base, 6);
    const ControlBand band = result->band(&AblationEffect::kl);
    ASSERT_EQ(band.n, static_cast<int>(result->controls.size()));
    double sum = 0;
    int larger = 0;
    for (const AblationControl& c : result->controls) {
        sum += c.effect.kl;
        larger += c.effect.kl >= result->effect.kl;
        EXPECT_GE(c.effect.kl, band.low);
        EXPECT_LE(c.effect.kl, band.high);
    }
    EXPECT_DOUBLE_EQ(band.mean, sum / band.n);
    EXPECT_EQ(result->n_as_large(), larger);
    const auto json = ablation_json(*result);
    EXPECT_EQ(json["effect"]["kl"].get<double>(), result->effect.kl);
    EXPECT_EQ(json["controls"].size(), result->controls.size());
    EXPECT_EQ(json["continuation"]["base"].get<std::string>(), result->text->base);
    EXPECT_EQ(json["policy"].get<std::string>(), "mask@" + std::to_string(model->spec.moe_layers[0]) + "=0");
    CancelFlag cancel;
    cancel.set();
    EXPECT_EQ(measure_ablation(*decoder, some_ids(*model, 70), request, {}, {}, &cancel).error().kind, ErrorKind::kCancelled);
}

}  // namespace
}  // namespace gs
