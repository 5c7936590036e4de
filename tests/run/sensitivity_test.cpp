#include "engine/run/sensitivity.h"

#include <cmath>

#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"
#include "tests/run/planted_layer.h"

namespace gs {
namespace {

using namespace test;

SensitivityMap measure(Decoder& decoder, std::span<const int32_t> ids, std::span<const int> ks, const Policy& base = {}, const EvaluateOptions& options = {}) {
    const auto map = measure_sensitivity(decoder, ids, base, ks, options);
    EXPECT_TRUE(map) << (map ? "" : map.error().message());
    return map ? *map : SensitivityMap{};
}

/// A cell runs from its layer on, over hidden states and a cache that an earlier pass left: it must be as if all had been computed.
TEST(Sensitivity, EveryCellIsExactlyTheScoreOfThatPolicy) {
    struct Case {
        const char* model;
        const char* base;
    };
    for (const Case& c : {Case{"granitemoe-shared", "native"}, Case{"deepseek2-lite", "native"}, Case{"gpt-oss", "native"}, Case{"qwen2moe", "weights=one,mask@1=0"},
                          Case{"llama4", "native"}, Case{"olmoe", "k=3,temp=0.7"}}) {
        const auto model = golden_model(c.model);
        const auto decoder = make_decoder(model);
        const std::vector<int32_t> ids = some_ids(*model, 100);
        const EvaluateOptions options{.first_scored = 3, .window = 70};   // two windows, the first of two passes
        const Policy base = policy(c.base);
        const std::vector<int> ks = {1, 2};
        const SensitivityMap map = measure(*decoder, ids, ks, base, options);
        ASSERT_TRUE(map.complete);
        ASSERT_EQ(map.moe_layers, model->spec.moe_layers);
        std::vector<Policy> policies = {base};
        for (const int layer : map.moe_layers)
            for (const int k : map.ks) policies.push_back(with_layer_ks(base, model->spec.router, {&layer, 1}, {&k, 1}));
        for (const int k : map.ks) policies.push_back(with_uniform_k(base, k));
        const auto scores = score_policies(*decoder, ids, Policy{}, policies, options);
        ASSERT_TRUE(scores);
        const auto expect_equal = [&](const SensitivityCell& cell, const PolicyScore& score) {
            EXPECT_EQ(cell.n_scored, score.n_scored) << c.model;
            EXPECT_EQ(cell.kl, score.kl) << c.model << " " << score.policy.to_text();
            EXPECT_EQ(std::exp(cell.nll), score.perplexity) << c.model << " " << score.policy.to_text();
            EXPECT_EQ(cell.top1_agreement, score.top1_agreement);
            EXPECT_DOUBLE_EQ(cell.bytes_per_token, score.bytes_per_token) << c.model << " " << score.policy.to_text();
        };
        expect_equal(map.unchanged, scores->front());
        for (size_t i = 0; i < map.cells.size(); ++i) expect_equal(map.cells[i], (*scores)[i + 1]);
        for (size_t i = 0; i < map.uniform.size(); ++i) EXPECT_EQ(map.uniform[i].kl, (*scores)[1 + map.cells.size() + i].kl);
    }
}

TEST(Sensitivity, OnlyThePlantedLayerShowsInTheMap) {
    const auto model = golden_model("mixtral");
    constexpr int kPlanted = 1;
    const auto decoder = make_decoder(model, {}, std::make_shared<PlantedLayer>(exact_ops(), kPlanted));
    const std::vector<int> ks = {1, 2, 3, 4};
    const SensitivityMap map = measure(*decoder, some_ids(*model, 60), ks);
    for (int m = 0; m < map.n_layers(); ++m)
        for (int column = 0; column < map.n_ks(); ++column) {
            const bool differs = m == kPlanted && map.ks[static_cast<size_t>(column)] != map.base_k[kPlanted];
            if (differs) {
                EXPECT_GT(map.cell(m, column).kl, 1e-6);
            } else {
                EXPECT_EQ(map.cell(m, column).kl, 0) << "layer " << m << ", k " << map.ks[static_cast<size_t>(column)];
            }
        }
}

TEST(Sensitivity, ReadsFewerRowsThanScoringEveryPolicyWould) {
    const auto model = golden_model("granitemoe");
    const auto ops = std::make_shared<LimitedOps>(exact_ops());
    const auto decoder = make_decoder(model, {}, ops);
    const std::vector<int32_t> ids = some_ids(*model, 64);
    const std::vector<int> ks = {1, 2};
    ops->n_linear_rows = 0;
    const SensitivityMap map = measure(*decoder, ids, ks);
    const int64_t resumed = ops->n_linear_rows;
    std::vector<Policy> policies;
    for (size_t m = 0; m < map.moe_layers.size(); ++m)
        for (const int k : map.ks)
            if (k != map.base_k[m]) policies.push_back(with_layer_ks(Policy{}, model->spec.router, {&map.moe_layers[m], 1}, {&k, 1}));
    for (const int k : map.ks) policies.push_back(with_uniform_k(Policy{}, k));
    ops->n_linear_rows = 0;
    ASSERT_TRUE(score_policies(*decoder, ids, Policy{}, policies, {}));
    EXPECT_LT(resumed, ops->n_linear_rows);
}

TEST(Sensitivity, FillsInFromTheLastLayerAndCancels) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const std::vector<int32_t> ids = some_ids(*model, 80);
    const std::vector<int> ks = {1, 2, 3};
    double last = 0;
    int n_cells = 0;
    const auto progress = [&](const SensitivityMap& so_far, double fraction) {
        EXPECT_GE(fraction, last);
        EXPECT_GE(so_far.n_cells_done, n_cells);
        if (n_cells == 0 && so_far.n_cells_done > 0) {
            EXPECT_EQ(so_far.uniform.size(), 3u) << "known before the first cell";
            EXPECT_GT(so_far.cell(so_far.n_layers() - 1, 0).n_scored, 0);
            EXPECT_EQ(so_far.cell(0, 0).n_scored, 0);
        }
        last = fraction;
        n_cells = so_far.n_cells_done;
    };
    const auto whole = measure_sensitivity(*decoder, ids, Policy{}, ks, {}, progress);
    ASSERT_TRUE(whole);
    EXPECT_EQ(last, 1);
    EXPECT_EQ(n_cells, static_cast<int>(whole->cells.size()));
    CancelFlag cancel;
    const auto cancelled = measure_sensitivity(*decoder, ids, Policy{}, ks, {}, [&](const SensitivityMap& so_far, double) {
        if (so_far.n_cells_done > 0) cancel.set();
    }, &cancel);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().kind, ErrorKind::kCancelled);
}

TEST(Sensitivity, RefusesBadInput) {
    const std::vector<int> ks = {1}, none, too_many = {9};
    const std::vector<int32_t> ids = {1, 2, 3}, one = {1};
    const auto decoder = make_decoder(golden_model("mixtral"));
    EXPECT_EQ(measure_sensitivity(*decoder, one, Policy{}, ks, {}).error().code, "text_too_short");
    EXPECT_EQ(measure_sensitivity(*decoder, ids, Policy{}, too_many, {}).error().code, "bad_k");
    EXPECT_EQ(measure_sensitivity(*decoder, ids, policy("k=9"), ks, {}).error().code, "bad_policy");
    EXPECT_EQ(measure_sensitivity(*decoder, ids, policy("force@0=1:2"), ks, {}).error().code, "bad_policy") << "k = 1 cannot hold both";
    const auto dense = make_decoder(golden_model("llama"));
    EXPECT_EQ(measure_sensitivity(*dense, ids, Policy{}, ks, {}).error().code, "dense_model");
    const auto only_native = measure_sensitivity(*decoder, ids, Policy{}, none, {});
    ASSERT_TRUE(only_native);
    EXPECT_EQ(only_native->ks, std::vector<int>{decoder->model().spec.router.n_used});
}

TEST(SensitivityExport, LeavesOutWhatWasNotMeasured) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const std::vector<int> ks = {1, 2};
    SensitivityMap map = measure(*decoder, some_ids(*model, 20), ks);
    const auto json = sensitivity_json(map);
    ASSERT_EQ(json["layers"].size(), map.moe_layers.size());
    for (int m = 0; m < map.n_layers(); ++m)
        for (int column = 0; column < 2; ++column) EXPECT_EQ(json["layers"][static_cast<size_t>(m)]["kl"][static_cast<size_t>(column)].get<double>(), map.cell(m, column).kl);
    const std::string csv = sensitivity_csv(map);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + static_cast<std::ptrdiff_t>(map.cells.size()));
    map.cells[0].n_scored = 0;
    EXPECT_TRUE(sensitivity_json(map)["layers"][0]["kl"][0].is_null());
    const std::string shorter = sensitivity_csv(map);
    EXPECT_EQ(std::count(shorter.begin(), shorter.end(), '\n'), static_cast<std::ptrdiff_t>(map.cells.size()));
}

}  // namespace
}  // namespace gs
