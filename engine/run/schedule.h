// A k for every layer under a budget. As in LExI (arXiv 2509.02753) and Alloc-MoE (arXiv 2604.08133): a sensitivity profile, the assumption that the
// losses of layers add up, and dynamic programming over layers, which is exact for that assumption. Then real runs say what holds.
//
//   GS_TRY(Budget budget, Budget::parse("kl=0.05"));
//   GS_TRY(ScheduleResult found, find_schedule(*decoder, map, budget));
//   found.verified.kl, found.policy.to_text(), found.uniform
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/run/sensitivity.h"

namespace gs {

enum class BudgetKind : uint8_t { kKl, kPerplexity, kBytes };
const char* name_of(BudgetKind kind);                ///< "kl", "perplexity", "bytes"

/// What a budget is about, or what is to be small under it: KL, or perplexity for that kind.
double loss_of(BudgetKind kind, const PolicyScore& score);
/// Share by which weight bytes, sums of products in f64, may differ and be the same.
inline constexpr double kByteRounding = 1e-9;

struct Budget {
    BudgetKind kind = BudgetKind::kKl;
    double limit = 0;                                ///< at most: nats, perplexity, weight bytes per token

    bool operator==(const Budget&) const = default;
    /// "kl=0.05", "perplexity=21.5", "bytes=60e6", "bytes=60MB". Errors: kUsage "bad_budget".
    static Result<Budget> parse(const std::string& text);
    std::string to_text() const;                     ///< parses back to the same budget
};

/// One choice of columns for every layer that minimises Σ loss for each total of costs. loss: [M, K] row-major; costs: [K] ascending, positive.
class LayerAllocation {
public:
    LayerAllocation(std::span<const int> costs, std::span<const double> loss);
    int min_total() const { return m_n_layers * m_costs.front(); }
    int max_total() const { return m_n_layers * m_costs.back(); }
    /// Smallest Σ loss with Σ cost at most `total`; infinite below min_total().
    double loss(int total) const;
    /// [M] columns that reach it, of the smallest Σ cost among equals. total >= min_total().
    std::vector<int> columns(int total) const;
    /// Smallest total whose loss is at most `limit`, or -1.
    int cheapest(double limit) const;

private:
    size_t index(int layer, int total) const { return static_cast<size_t>(layer) * static_cast<size_t>(max_total() + 1) + static_cast<size_t>(total); }
    int m_n_layers;
    std::vector<int> m_costs;
    std::vector<double> m_best;                      ///< [M + 1, max_total + 1]: layers in front of it, Σ cost exactly this
    std::vector<uint16_t> m_choice;                  ///< [M + 1, max_total + 1]: column of the last of them
    std::vector<int> m_cheapest;                     ///< [max_total + 1]: Σ cost of the best at most this, -1 where there is none
};

/// What the additive model expects of a choice of k.
struct Prediction {
    double kl = 0, perplexity = 0, bytes_per_token = 0;
};

/// A k for every MoE layer, and what the map expects of it.
struct LayerSchedule {
    std::vector<int> ks;                             ///< [M]
    Prediction predicted;
    int total() const;                               ///< Σ k
};

/// The cheapest schedules of a map for every number of experts a token may use in all.
class SchedulePlanner {
public:
    /// The map must be complete. kind: which loss is minimised (KL also where bytes are the budget).
    SchedulePlanner(const SensitivityMap& map, BudgetKind kind);
    const LayerAllocation& allocation() const { return m_allocation; }
    LayerSchedule at(int total) const;
    /// Fewest experts that the prediction allows within a KL or perplexity budget; most that a bytes budget allows. -1 if none does.
    int total_for(const Budget& budget) const;
    Prediction predict(std::span<const int> ks) const;

private:
    const SensitivityMap& m_map;
    BudgetKind m_kind;
    LayerAllocation m_allocation;
};

/// The map's base policy with the k of a schedule in every layer.
Policy policy_of(const SensitivityMap& map, const RouterSpec& spec, const LayerSchedule& schedule);

/// Column of the best single k of the map that keeps the budget as measured: fewest bytes under a loss budget, smallest KL under a bytes budget; -1: none.
int best_uniform(const SensitivityMap& map, const Budget& budget);

/// A schedule that was run.
struct ScheduleTrial {
    LayerSchedule schedule;
    PolicyScore measured;
    bool within = false;                             ///< of the budget, as measured
};

enum class ScheduleVerdict : uint8_t { kSchedule, kUniform, kSame, kNeither };

/// The cheapest schedule found, as measured, beside the best single k for the same budget.
struct ScheduleResult {
    Budget budget;
    Policy policy;
    LayerSchedule schedule;
    PolicyScore verified;                            ///< of policy, on the map's text
    bool within = false;                             ///< verified keeps the budget
    std::optional<PolicyScore> uniform;              ///< the best k for the same budget among the map's; none if no k keeps it
    int uniform_k = 0;
    ScheduleVerdict verdict = ScheduleVerdict::kNeither;
    std::vector<ScheduleTrial> trials;               ///< every schedule that was run, in that order
    int n_tokens = 0;
    bool given = false;                              ///< not searched for: it was asked for as it is

    /// One sentence: which of the two is better, by how much, or that the schedule loses.
    std::string verdict_text() const;
};

using ScheduleProgress = std::function<void(int n_runs, double fraction_of_run)>;

/// Plans, runs, and corrects: with a KL or perplexity budget the totals are searched by bisection for the cheapest planned schedule whose measured loss
/// keeps the budget, because losses of layers do not quite add up. Scores are score_policies() on the map's text, against native routing.
/// Errors: kUsage "budget_too_tight" with the nearest that is possible, "map_incomplete", kInput "wrong_model", those of score_policies.
Result<ScheduleResult> find_schedule(Decoder& decoder, const SensitivityMap& map, const Budget& budget, int timed_tokens = 0,
                                     const ScheduleProgress& progress = {}, const CancelFlag* cancel = nullptr);

/// One schedule as it is: predicted, run on the map's text, and beside the best single k for the budget. ks: [M], each among the map's.
/// Errors: kUsage "bad_schedule", those of find_schedule but for "budget_too_tight".
Result<ScheduleResult> check_schedule(Decoder& decoder, const SensitivityMap& map, const Budget& budget, std::span<const int> ks, int timed_tokens = 0,
                                      const ScheduleProgress& progress = {}, const CancelFlag* cancel = nullptr);

/// The option that gives other engines this k: llama.cpp's --override-kv ARCH.expert_used_count=int:K. They know no k of single layers.
std::string override_kv_line(const ModelSpec& spec, int k);

}  // namespace gs
