// The search of schedule.h by real runs, and the comparison with one k for all layers.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"
#include "engine/run/schedule.h"

namespace gs {
namespace {

constexpr int kMostRuns = 12;                        // bisection ends earlier for all but the largest models

bool keeps(const Budget& budget, const PolicyScore& score) {
    switch (budget.kind) {
        case BudgetKind::kKl: return score.kl <= budget.limit;
        case BudgetKind::kPerplexity: return score.perplexity <= budget.limit;
        case BudgetKind::kBytes: break;
    }
    return score.bytes_per_token <= budget.limit * (1 + kByteRounding);
}

/// < 0: a is better within the budget, > 0: b is, 0: neither.
double compare(const Budget& budget, const PolicyScore& a, const PolicyScore& b) {
    const double bytes = a.bytes_per_token - b.bytes_per_token, loss = loss_of(budget.kind, a) - loss_of(budget.kind, b);
    const double more_bytes = std::abs(bytes) > kByteRounding * b.bytes_per_token ? bytes : 0;
    const double first = budget.kind == BudgetKind::kBytes ? loss : more_bytes;
    return first != 0 ? first : budget.kind == BudgetKind::kBytes ? more_bytes : loss;
}

class Finder {
public:
    Finder(Decoder& decoder, const SensitivityMap& map, const Budget& budget, const ScheduleProgress& progress, const CancelFlag* cancel)
        : m_decoder(decoder), m_map(map), m_budget(budget), m_planner(map, budget.kind == BudgetKind::kPerplexity ? budget.kind : BudgetKind::kKl),
          m_progress(progress), m_cancel(cancel) {}
    Result<ScheduleResult> find(int timed_tokens);
    Result<ScheduleResult> check(std::span<const int> ks, int timed_tokens);

private:
    Error too_tight() const;
    /// Runs the best schedule of at most that total, unless it has been run; its index in trials.
    Result<size_t> run(int total) { return run(m_planner.at(total)); }
    Result<size_t> run(LayerSchedule schedule);
    Result<ScheduleResult> result_of(size_t trial, int timed_tokens);
    Result<size_t> search(int total);
    Result<std::vector<PolicyScore>> score(std::span<const Policy> policies, int timed_tokens);
    Policy policy_of(const LayerSchedule& schedule) const { return gs::policy_of(m_map, m_decoder.model().spec.router, schedule); }
    void compare_with_uniform(ScheduleResult& result) const;

    Decoder& m_decoder;
    const SensitivityMap& m_map;
    const Budget& m_budget;
    SchedulePlanner m_planner;
    const ScheduleProgress& m_progress;
    const CancelFlag* m_cancel;
    std::vector<ScheduleTrial> m_trials;
};

Error Finder::too_tight() const {
    const LayerAllocation& allocation = m_planner.allocation();
    const LayerSchedule nearest = m_planner.at(m_budget.kind == BudgetKind::kBytes ? allocation.min_total() : allocation.max_total());
    const Prediction& p = nearest.predicted;
    std::string why;
    switch (m_budget.kind) {
        case BudgetKind::kKl: why = fmt::format("the smallest KL that the map expects of any schedule is {:.6f} nats", p.kl); break;
        case BudgetKind::kPerplexity: why = fmt::format("the lowest perplexity that the map expects of any schedule is {:.4f}", p.perplexity); break;
        case BudgetKind::kBytes: why = fmt::format("the smallest k of the map in every layer reads {:.0f} bytes per token", p.bytes_per_token); break;
    }
    return {ErrorKind::kUsage, "budget_too_tight", fmt::format("No schedule keeps {}", m_budget.to_text()), std::move(why), "Allow more, or measure more values of k"};
}

Result<std::vector<PolicyScore>> Finder::score(std::span<const Policy> policies, int timed_tokens) {
    EvaluateOptions options = m_map.options;
    options.timed_tokens = timed_tokens;
    const ScoreProgress report = [&](const std::vector<PolicyScore>&, double fraction) {
        if (m_progress) m_progress(static_cast<int>(m_trials.size()), fraction);
    };
    return score_policies(m_decoder, m_map.ids, Policy{}, policies, options, report, m_cancel);
}

Result<size_t> Finder::run(LayerSchedule schedule) {
    const auto known = std::find_if(m_trials.begin(), m_trials.end(), [&](const ScheduleTrial& t) { return t.schedule.ks == schedule.ks; });
    if (known != m_trials.end()) return static_cast<size_t>(known - m_trials.begin());
    const Policy policy = policy_of(schedule);
    GS_TRY(const std::vector<PolicyScore> scores, score({&policy, 1}, 0));
    m_trials.push_back({std::move(schedule), scores[0], keeps(m_budget, scores[0])});
    return m_trials.size() - 1;
}

/// From the planned total outwards in growing steps until one total keeps the budget and a smaller one does not, then by halves. The cheapest that
/// keeps it; the planned one if none does.
Result<size_t> Finder::search(int total) {
    const LayerAllocation& allocation = m_planner.allocation();
    GS_TRY(const size_t planned, run(total));
    if (m_budget.kind == BudgetKind::kBytes) return planned;
    int too_few = allocation.min_total() - 1, enough = allocation.max_total() + 1;
    size_t best = planned;
    const auto note = [&](size_t trial, int tried) {
        if (m_trials[trial].within) {
            enough = m_trials[trial].schedule.total();
            best = trial;
        } else {
            too_few = tried;
        }
    };
    note(planned, total);
    const int direction = m_trials[planned].within ? -1 : 1;
    int step = std::max(1, total / 32), at = total;
    while (enough - too_few > 1 && static_cast<int>(m_trials.size()) < kMostRuns) {
        const bool bracketed = direction < 0 ? too_few >= allocation.min_total() : enough <= allocation.max_total();
        at = bracketed ? (too_few + enough) / 2 : std::clamp((direction < 0 ? enough : too_few) + direction * step, allocation.min_total(), allocation.max_total());
        step *= 2;
        GS_TRY(const size_t trial, run(at));
        note(trial, at);
    }
    return best;
}

void Finder::compare_with_uniform(ScheduleResult& result) const {
    if (!result.uniform) {
        result.verdict = result.within ? ScheduleVerdict::kSchedule : ScheduleVerdict::kNeither;
        return;
    }
    const double difference = result.within ? compare(m_budget, result.verified, *result.uniform) : 1;
    result.verdict = difference < 0 ? ScheduleVerdict::kSchedule : difference > 0 ? ScheduleVerdict::kUniform : ScheduleVerdict::kSame;
}

Result<ScheduleResult> Finder::find(int timed_tokens) {
    const int total = m_planner.total_for(m_budget);
    if (total < 0) return too_tight();
    GS_TRY(const size_t best, search(total));
    return result_of(best, timed_tokens);
}

Result<ScheduleResult> Finder::check(std::span<const int> ks, int timed_tokens) {
    GS_TRY(const size_t trial, run(LayerSchedule{.ks = {ks.begin(), ks.end()}, .predicted = m_planner.predict(ks)}));
    GS_TRY(ScheduleResult result, result_of(trial, timed_tokens));
    result.given = true;
    return result;
}

Result<ScheduleResult> Finder::result_of(size_t best, int timed_tokens) {
    ScheduleResult result{.budget = m_budget, .policy = policy_of(m_trials[best].schedule), .schedule = m_trials[best].schedule};
    result.verified = m_trials[best].measured;
    result.within = m_trials[best].within;
    result.n_tokens = static_cast<int>(m_map.ids.size());
    const int uniform = best_uniform(m_map, m_budget);
    if (uniform >= 0) {
        result.uniform = m_map.uniform[static_cast<size_t>(uniform)];
        result.uniform_k = m_map.ks[static_cast<size_t>(uniform)];
    }
    if (timed_tokens > 0) {                      // one after the other, so that both meet the same machine
        std::vector<Policy> policies = {result.policy};
        if (result.uniform) policies.push_back(result.uniform->policy);
        GS_TRY(const std::vector<PolicyScore> timed, score(policies, timed_tokens));
        result.verified.tokens_per_s = timed[0].tokens_per_s;
        if (result.uniform) result.uniform->tokens_per_s = timed[1].tokens_per_s;
    }
    compare_with_uniform(result);
    result.trials = std::move(m_trials);
    return result;
}

std::string megabytes(double bytes) { return fmt::format("{:.2f} MB", bytes / 1e6); }

}  // namespace

int best_uniform(const SensitivityMap& map, const Budget& budget) {
    int best = -1;
    for (size_t column = 0; column < map.uniform.size(); ++column)
        if (keeps(budget, map.uniform[column]) && (best < 0 || compare(budget, map.uniform[column], map.uniform[static_cast<size_t>(best)]) < 0)) best = static_cast<int>(column);
    return best;
}

std::string ScheduleResult::verdict_text() const {
    if (verdict == ScheduleVerdict::kNeither) return given ? "This schedule does not keep the budget, and no single k does." : "No schedule that was run keeps the budget, and no single k does.";
    if (!uniform) return "Only the schedule keeps the budget: no single k of the map does.";
    if (verdict == ScheduleVerdict::kSame) return fmt::format("The schedule is no better than k = {} in every layer: same bytes, same loss.", uniform_k);
    if (!within)
        return fmt::format("The schedule loses: {} the budget, k = {} in every layer does.", given ? "it does not keep" : "no schedule that was run keeps", uniform_k);
    const bool wins = verdict == ScheduleVerdict::kSchedule;
    const std::string begin = wins ? "" : "The schedule loses: ";
    if (budget.kind == BudgetKind::kBytes)
        return fmt::format("{}{}ithin {} per token its KL is {:.4f} nats, that of k = {} in every layer {:.4f}.", begin, wins ? "W" : "w", megabytes(budget.limit), verified.kl,
                           uniform_k, uniform->kl);
    const double saved = 1 - verified.bytes_per_token / uniform->bytes_per_token;
    if (std::abs(saved) <= kByteRounding)
        return fmt::format("{}{}t the same {} per token its {} is {:.4f}, that of k = {} in every layer {:.4f}.", begin, wins ? "A" : "a", megabytes(verified.bytes_per_token),
                           name_of(budget.kind), loss_of(budget.kind, verified), uniform_k, loss_of(budget.kind, *uniform));
    return fmt::format("{}{}t keeps the budget with {} per token; k = {} in every layer needs {}: {:.2f} % {}.", begin, wins ? "I" : "i", megabytes(verified.bytes_per_token), uniform_k,
                       megabytes(uniform->bytes_per_token), 100 * std::abs(saved), wins ? "saved" : "more");
}

static Result<void> check_map(const Decoder& decoder, const SensitivityMap& map) {
    if (!map.complete) return Error{ErrorKind::kUsage, "map_incomplete", "There is no schedule yet", "the sensitivity map has not been measured to its end", "Measure it first"};
    if (map.model_hash != decoder.model().hash)
        return Error{ErrorKind::kInput, "wrong_model", "The map is of another model", "its figures say nothing about this one", "Measure the map of this model"};
    return {};
}

Result<ScheduleResult> find_schedule(Decoder& decoder, const SensitivityMap& map, const Budget& budget, int timed_tokens, const ScheduleProgress& progress,
                                     const CancelFlag* cancel) {
    GS_TRY_VOID(check_map(decoder, map));
    return Finder(decoder, map, budget, progress, cancel).find(timed_tokens);
}

Result<ScheduleResult> check_schedule(Decoder& decoder, const SensitivityMap& map, const Budget& budget, std::span<const int> ks, int timed_tokens,
                                      const ScheduleProgress& progress, const CancelFlag* cancel) {
    GS_TRY_VOID(check_map(decoder, map));
    const bool fits = static_cast<int>(ks.size()) == map.n_layers() && std::all_of(ks.begin(), ks.end(), [&](int k) { return map.column_of(k) >= 0; });
    if (!fits)
        return Error{ErrorKind::kUsage, "bad_schedule", "The schedule does not fit the map", fmt::format("it needs one of the map's k for each of {} layers", map.n_layers()),
                     "Measure the map again, with every k that the schedule has"};
    return Finder(decoder, map, budget, progress, cancel).check(ks, timed_tokens);
}

}  // namespace gs
