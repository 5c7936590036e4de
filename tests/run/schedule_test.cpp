#include "engine/run/schedule.h"

#include <cmath>
#include <random>

#include "engine/run/k_grid.h"
#include "engine/run/tune_export.h"
#include "tests/run/planted_layer.h"

namespace gs {
namespace {

using namespace test;

/// Every choice of columns, by counting.
template <class Visit>
void for_all_choices(int n_layers, int n_columns, Visit visit) {
    std::vector<int> columns(static_cast<size_t>(n_layers), 0);
    for (;;) {
        visit(columns);
        size_t at = 0;
        while (at < columns.size() && ++columns[at] == n_columns) columns[at++] = 0;
        if (at == columns.size()) return;
    }
}

TEST(LayerAllocation, IsAsGoodAsTheBestOfAllChoices) {
    std::mt19937 random(11);
    for (int round = 0; round < 30; ++round) {
        const int n_layers = 1 + static_cast<int>(random() % 5), n_columns = 1 + static_cast<int>(random() % 4);
        std::vector<int> costs;
        for (int c = 0, cost = 0; c < n_columns; ++c) costs.push_back(cost += 1 + static_cast<int>(random() % 3));
        // Multiples of 1/8, some negative: sums are exact, and equal ones occur.
        std::vector<double> loss;
        for (int i = 0; i < n_layers * n_columns; ++i) loss.push_back((static_cast<double>(random() % 33) - 8) / 8);
        const LayerAllocation allocation(costs, loss);
        const auto of = [&](const std::vector<int>& columns) {
            std::pair<int, double> sum{0, 0.0};
            for (size_t m = 0; m < columns.size(); ++m) {
                sum.first += costs[static_cast<size_t>(columns[m])];
                sum.second += loss[m * static_cast<size_t>(n_columns) + static_cast<size_t>(columns[m])];
            }
            return sum;
        };
        for (int total = allocation.min_total() - 1; total <= allocation.max_total() + 1; ++total) {
            double best = std::numeric_limits<double>::infinity();
            int least = 0;
            for_all_choices(n_layers, n_columns, [&](const std::vector<int>& columns) {
                const auto [cost, sum] = of(columns);
                if (cost > total || (sum == best && cost >= least) || sum > best) return;
                best = sum;
                least = cost;
            });
            EXPECT_EQ(allocation.loss(total), best);
            if (total < allocation.min_total()) continue;
            EXPECT_EQ(of(allocation.columns(total)), std::pair(least, best)) << "the smallest cost among equals";
        }
        for (double limit = -2; limit < 4; limit += 0.125) {
            int cheapest = -1;
            for_all_choices(n_layers, n_columns, [&](const std::vector<int>& columns) {
                const auto [cost, sum] = of(columns);
                if (sum <= limit && (cheapest < 0 || cost < cheapest)) cheapest = cost;
            });
            EXPECT_EQ(allocation.cheapest(limit), cheapest);
        }
    }
}

SensitivityMap measured_map(Decoder& decoder, int n_tokens, std::vector<int> ks, const Policy& base = {}) {
    const auto map = measure_sensitivity(decoder, some_ids(decoder.model(), n_tokens), base, ks, {});
    EXPECT_TRUE(map) << (map ? "" : map.error().message());
    return map ? *map : SensitivityMap{};
}

TEST(FindSchedule, GivesThePlantedLayerItsExpertsAndTheOthersOne) {
    const auto model = golden_model("mixtral");
    constexpr int kPlanted = 1;
    const auto decoder = make_decoder(model, {}, std::make_shared<PlantedLayer>(exact_ops(), kPlanted));
    const SensitivityMap map = measured_map(*decoder, 60, {1, 2, 3, 4});
    const auto found = find_schedule(*decoder, map, {BudgetKind::kKl, 0});
    ASSERT_TRUE(found) << found.error().message();
    for (size_t m = 0; m < map.moe_layers.size(); ++m) EXPECT_EQ(found->schedule.ks[m], m == kPlanted ? model->spec.router.n_used : 1);
    EXPECT_EQ(found->verified.kl, 0);
    EXPECT_EQ(found->schedule.predicted.kl, 0) << "one layer alone: nothing to add up wrongly";
    EXPECT_TRUE(found->within);
    EXPECT_EQ(found->uniform_k, model->spec.router.n_used);
    EXPECT_EQ(found->verdict, ScheduleVerdict::kSchedule);
    EXPECT_DOUBLE_EQ(found->verified.bytes_per_token, found->schedule.predicted.bytes_per_token);
    EXPECT_LT(found->verified.bytes_per_token, found->uniform->bytes_per_token);
    EXPECT_NE(found->verdict_text().find("saved"), std::string::npos) << found->verdict_text();
}

TEST(FindSchedule, ReportsExactlyWhatScoringThePolicyGives) {
    const auto model = golden_model("granitemoe-shared");
    const auto decoder = make_decoder(model);
    const SensitivityMap map = measured_map(*decoder, 90, {1, 2, 3, 4});
    const double worst = map.uniform.front().kl;
    for (const Budget& budget : {Budget{BudgetKind::kKl, worst / 4}, Budget{BudgetKind::kPerplexity, std::exp(map.unchanged.nll) * 1.001},
                                 Budget{BudgetKind::kBytes, map.dense_bytes + map.expert_bytes * 1.5 * map.n_layers()}}) {
        const auto found = find_schedule(*decoder, map, budget, 2);
        ASSERT_TRUE(found) << found.error().message();
        const std::vector<Policy> policies = {found->policy};
        const auto scores = score_policies(*decoder, map.ids, Policy{}, policies, map.options);
        ASSERT_TRUE(scores);
        EXPECT_EQ(found->verified.kl, scores->front().kl) << budget.to_text();
        EXPECT_EQ(found->verified.perplexity, scores->front().perplexity);
        EXPECT_EQ(found->verified.bytes_per_token, scores->front().bytes_per_token);
        EXPECT_GT(found->verified.tokens_per_s, 0);
        // Within is what was measured, not what was planned; and no cheaper one that was run keeps the budget.
        for (const ScheduleTrial& trial : found->trials) {
            const double measured = budget.kind == BudgetKind::kKl           ? trial.measured.kl
                                    : budget.kind == BudgetKind::kPerplexity ? trial.measured.perplexity
                                                                             : trial.measured.bytes_per_token;
            EXPECT_EQ(trial.within, measured <= budget.limit * (1 + 1e-9)) << budget.to_text();
            if (trial.within && found->within) {
                EXPECT_GE(trial.schedule.total(), found->schedule.total());
            }
        }
    }
}

TEST(FindSchedule, TakesTheCheapestUniformKThatKeepsTheBudget) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    const SensitivityMap map = measured_map(*decoder, 70, {1, 2, 3});
    const int native = model->spec.router.n_used;
    const auto found = find_schedule(*decoder, map, {BudgetKind::kKl, 0});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->uniform_k, native);
    EXPECT_EQ(found->verdict, ScheduleVerdict::kSame) << found->verdict_text();
    const auto few = find_schedule(*decoder, map, {BudgetKind::kBytes, map.dense_bytes + map.expert_bytes * map.n_layers()});
    ASSERT_TRUE(few);
    EXPECT_EQ(few->uniform_k, 1);
    EXPECT_EQ(few->verdict, ScheduleVerdict::kSame);
}

/// A map that promises too much: the search must find out by running, and go on to what holds.
TEST(FindSchedule, CorrectsAPredictionThatDoesNotHold) {
    const auto model = golden_model("granitemoe-shared");
    const auto decoder = make_decoder(model);
    SensitivityMap map = measured_map(*decoder, 90, {1, 2, 3, 4});
    const double budget = map.uniform.front().kl / 6;
    for (SensitivityCell& cell : map.cells) cell.kl /= 50;
    const auto found = find_schedule(*decoder, map, {BudgetKind::kKl, budget});
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->trials.front().within);
    EXPECT_TRUE(found->within);
    EXPECT_LE(found->verified.kl, budget);
    EXPECT_GT(found->trials.size(), 1u);
}

TEST(FindSchedule, SaysPlainlyWhenItLoses) {
    ScheduleResult result{.budget = {BudgetKind::kBytes, 5e6}};
    result.within = true;
    result.verified = {.kl = 0.5, .bytes_per_token = 4.9e6};
    result.uniform = PolicyScore{.kl = 0.4, .bytes_per_token = 4.8e6};
    result.uniform_k = 3;
    result.verdict = ScheduleVerdict::kUniform;
    EXPECT_EQ(result.verdict_text(), "The schedule loses: within 5.00 MB per token its KL is 0.5000 nats, that of k = 3 in every layer 0.4000.");
    result.within = false;
    EXPECT_NE(result.verdict_text().find("no schedule that was run keeps the budget"), std::string::npos);
}

TEST(CheckSchedule, RunsTheScheduleThatWasGivenAndNoOther) {
    const auto model = golden_model("granitemoe-shared");
    const auto decoder = make_decoder(model);
    const SensitivityMap map = measured_map(*decoder, 90, {1, 2, 3});
    std::vector<int> ks(static_cast<size_t>(map.n_layers()), 2);
    ks.front() = 1;
    ks.back() = 3;
    const Budget budget{BudgetKind::kKl, map.uniform.front().kl};
    const auto checked = check_schedule(*decoder, map, budget, ks, 2);
    ASSERT_TRUE(checked) << checked.error().message();
    EXPECT_TRUE(checked->given);
    EXPECT_EQ(checked->schedule.ks, ks);
    EXPECT_EQ(checked->trials.size(), 1u);
    const Prediction predicted = SchedulePlanner(map, BudgetKind::kKl).predict(ks);
    EXPECT_EQ(checked->schedule.predicted.kl, predicted.kl);
    const std::vector<Policy> policies = {with_layer_ks(Policy{}, model->spec.router, map.moe_layers, ks)};
    EXPECT_EQ(checked->policy, policies[0]);
    const auto scores = score_policies(*decoder, map.ids, Policy{}, policies, map.options);
    ASSERT_TRUE(scores);
    EXPECT_EQ(checked->verified.kl, scores->front().kl);
    EXPECT_DOUBLE_EQ(checked->verified.bytes_per_token, predicted.bytes_per_token);
    EXPECT_EQ(checked->uniform_k, 1) << "the budget is what k = 1 costs";
    EXPECT_GT(checked->verified.tokens_per_s, 0);
    const auto tight = check_schedule(*decoder, map, {BudgetKind::kKl, 0}, ks);
    ASSERT_TRUE(tight) << "a schedule that loses more is run as well";
    EXPECT_FALSE(tight->within);
    EXPECT_NE(tight->verdict_text().find("does not keep"), std::string::npos) << tight->verdict_text();
    ks.back() = 4;
    EXPECT_EQ(check_schedule(*decoder, map, budget, ks).error().code, "bad_schedule");
    ks.pop_back();
    EXPECT_EQ(check_schedule(*decoder, map, budget, ks).error().code, "bad_schedule");
}

TEST(FindSchedule, RefusesWhatCannotBe) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    SensitivityMap map = measured_map(*decoder, 40, {1, 2});
    const auto few = find_schedule(*decoder, map, {BudgetKind::kBytes, map.dense_bytes});
    ASSERT_FALSE(few);
    EXPECT_EQ(few.error().code, "budget_too_tight");
    EXPECT_EQ(few.error().kind, ErrorKind::kUsage);
    EXPECT_EQ(find_schedule(*decoder, map, {BudgetKind::kPerplexity, 1}).error().code, "budget_too_tight");
    map.complete = false;
    EXPECT_EQ(find_schedule(*decoder, map, {BudgetKind::kKl, 1}).error().code, "map_incomplete");
    map.complete = true;
    map.model_hash = "another";
    EXPECT_EQ(find_schedule(*decoder, map, {BudgetKind::kKl, 1}).error().code, "wrong_model");
}

TEST(BudgetText, ParsesBackAndNamesWhatIsWrong) {
    EXPECT_EQ(*Budget::parse("kl=0.05"), (Budget{BudgetKind::kKl, 0.05}));
    EXPECT_EQ(*Budget::parse("perplexity=21.5"), (Budget{BudgetKind::kPerplexity, 21.5}));
    EXPECT_EQ(*Budget::parse("bytes=60MB"), (Budget{BudgetKind::kBytes, 60e6}));
    EXPECT_EQ(*Budget::parse("bytes=6e7"), (Budget{BudgetKind::kBytes, 6e7}));
    for (const Budget& budget : {Budget{BudgetKind::kKl, 0.1 + 0.2}, Budget{BudgetKind::kBytes, 123456789}}) EXPECT_EQ(*Budget::parse(budget.to_text()), budget);
    for (const char* bad : {"", "kl", "kl=", "kl=x", "kl=-1", "kl=nan", "kl=inf", "kl=1MB", "perplexity=0.5", "bytes=1TB", "size=3", "=1"}) {
        const auto budget = Budget::parse(bad);
        ASSERT_FALSE(budget) << bad;
        EXPECT_EQ(budget.error().code, "bad_budget");
    }
}

TEST(ScheduleExport, HoldsTheFiguresAndTheLineForOthers) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const SensitivityMap map = measured_map(*decoder, 40, {1, 2, 3});
    const auto found = find_schedule(*decoder, map, {BudgetKind::kBytes, map.dense_bytes + 2 * map.expert_bytes * map.n_layers()});
    ASSERT_TRUE(found);
    const auto json = schedule_json(map, *found, model->spec);
    EXPECT_EQ(json["verified"]["kl"].get<double>(), found->verified.kl);
    EXPECT_EQ(json["k"].get<std::vector<int>>(), found->schedule.ks);
    EXPECT_EQ(json["uniform"]["llama_cpp"], "--override-kv llama.expert_used_count=int:2");
    EXPECT_EQ(*Policy::parse(json["policy"].get<std::string>()), found->policy);
    const std::string csv = schedule_csv(map, *found);
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + map.n_layers());
}

}  // namespace
}  // namespace gs
