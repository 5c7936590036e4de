#include "engine/run/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/run/evaluate_window.h"

namespace gs {

int SweepResult::n_to_score() const { return std::max(0, n_tokens() - 1 - plan.options.first_scored); }

int SweepResult::native_row() const {
    const auto found = std::find(plan.ks.begin(), plan.ks.end(), native_k);
    return found == plan.ks.end() ? -1 : static_cast<int>(found - plan.ks.begin());
}

std::vector<Policy> sweep_policies(const Policy& base, std::span<const int> ks) {
    std::vector<Policy> policies;
    for (const int k : ks) {
        policies.push_back(base);
        policies.back().rule = GateRule::kTopK;
        policies.back().k = k;
    }
    return policies;
}

std::vector<Policy> sweep_policies(const Policy& base, int n_experts) {
    std::vector<int> ks(static_cast<size_t>(n_experts));
    std::iota(ks.begin(), ks.end(), 1);
    return sweep_policies(base, ks);
}

Result<SweepResult> measure_sweep(Decoder& decoder, std::span<const int32_t> ids, const SweepPlan& plan, const SweepProgress& progress,
                                  const CancelFlag* cancel) {
    const Model& model = decoder.model();
    const RouterSpec& router = model.spec.router;
    if (!model.spec.is_moe())
        return Error{ErrorKind::kInput, "dense_model", "There is no k to sweep", "this model is dense: it has no routed experts", "Use an MoE model"};
    if (ids.size() < 2) return text_too_short(ids.size());
    SweepResult result{.plan = plan, .model_hash = model.hash, .engine = decoder.engine(), .ids = {ids.begin(), ids.end()}, .n_text_tokens = static_cast<int>(ids.size()),
                       .native_k = router.n_used, .moe_layers = model.spec.moe_layers};
    std::vector<int>& ks = result.plan.ks;
    if (ks.empty()) {
        ks.resize(static_cast<size_t>(router.n_experts));
        std::iota(ks.begin(), ks.end(), 1);
    }
    std::sort(ks.begin(), ks.end());
    ks.erase(std::unique(ks.begin(), ks.end()), ks.end());
    if (ks.front() < 1 || ks.back() > router.n_experts)
        return Error{ErrorKind::kUsage, "bad_k", "The values of k", fmt::format("{} is outside 1..{}, the experts of this model", ks.front() < 1 ? ks.front() : ks.back(), router.n_experts),
                     "For example all, or 1,2,4-6"};
    const auto report = [&](const std::vector<PolicyScore>& rows, double fraction) {
        if (!progress) return;
        result.rows = rows;
        progress(result, fraction);
    };
    GS_TRY(result.rows, score_policies(decoder, result.ids, Policy{}, sweep_policies(result.plan.base, ks), result.plan.options, report, cancel));
    result.complete = true;
    if (progress) progress(result, 1);
    return result;
}

}  // namespace gs
