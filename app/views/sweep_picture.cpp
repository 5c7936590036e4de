#include "app/views/sweep_picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr double kMB = 1e6;

}  // namespace

SweepFact fact_of(SweepFigure figure) {
    switch (figure) {
        case SweepFigure::kPerplexity: return {"perplexity", "exp of the mean negative log-likelihood of the true next token", true, false};
        case SweepFigure::kKl: return {"KL to native (nats)", "Mean KL divergence of the next-token distribution from that of native routing", true, false};
        case SweepFigure::kTop1: return {"same top token", "Positions where the most probable next token is that of native routing", false, true};
        case SweepFigure::kLayerError:
            return {"output error", "‖y − y_native‖ / ‖y_native‖ of each layer's routed output on the hidden states of the native run: thick is the mean of all layers, thin are single layers", false, false};
        case SweepFigure::kSpeed: return {"tokens/s", "Decoded one token at a time on this machine, one k after the other", false, false};
        case SweepFigure::kBytes: break;
    }
    return {"MB per token", "Weight bytes that one decoded token reads, counted", false, false};
}

double sweep_value(const gs::PolicyScore& s, SweepFigure figure) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    if (s.n_scored == 0) return kNone;
    switch (figure) {
        case SweepFigure::kPerplexity: return s.perplexity;
        case SweepFigure::kKl: return s.kl;
        case SweepFigure::kTop1: return s.top1_agreement;
        case SweepFigure::kLayerError: return s.n_error_tokens > 0 ? s.mean_layer_error : kNone;
        case SweepFigure::kSpeed: return s.n_timed > 0 ? s.tokens_per_s : kNone;
        case SweepFigure::kBytes: break;
    }
    return s.bytes_per_token / kMB;
}

double sweep_error(const gs::PolicyScore& s, SweepFigure figure) {
    switch (figure) {
        case SweepFigure::kPerplexity: return s.perplexity_se();
        case SweepFigure::kKl: return s.kl_se;
        case SweepFigure::kTop1: return s.top1_se;
        case SweepFigure::kLayerError: return s.mean_layer_error_se;
        case SweepFigure::kSpeed: return s.tokens_per_s_se;
        case SweepFigure::kBytes: break;
    }
    return 0;
}

std::string sweep_text(const gs::PolicyScore& s, SweepFigure figure) {
    const double value = sweep_value(s, figure), error = sweep_error(s, figure);
    if (std::isnan(value)) return "–";
    const auto text = [&](double v) { return fact_of(figure).is_share ? format_percent(v) : format_number(v); };
    return error > 0 ? fmt::format("{} ± {}", text(value), text(error)) : text(value);
}

SweepCurve sweep_curve(const gs::SweepResult& sweep, SweepFigure figure, bool positive_only, int moe_layer) {
    SweepCurve out;
    const auto layer = static_cast<size_t>(std::max(moe_layer, 0));
    for (const gs::PolicyScore& s : sweep.rows) {
        const bool of_layer = moe_layer >= 0 && layer < s.layer_error.size();
        const double value = of_layer ? s.layer_error[layer] : sweep_value(s, figure), error = of_layer ? s.layer_error_se[layer] : sweep_error(s, figure);
        if (!std::isfinite(value) || (positive_only && value <= 0)) continue;
        out.k.push_back(s.policy.k);
        out.value.push_back(value);
        out.low.push_back(positive_only && value <= error ? value * 0.5 : value - error);
        out.high.push_back(value + error);
    }
    return out;
}

SweepRange sweep_range(const std::vector<SweepCurve>& curves, SweepFigure figure, bool log_scale) {
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const SweepCurve& curve : curves)
        for (size_t i = 0; i < curve.k.size(); ++i) low = std::min(low, curve.low[i]), high = std::max(high, curve.high[i]);
    if (!(low <= high)) return log_scale ? SweepRange{0.1, 10} : SweepRange{};
    if (log_scale) return {low / 1.2, high * 1.2};
    if (figure != SweepFigure::kPerplexity) low = std::min(low, 0.0);
    if (fact_of(figure).is_share) return {0, 1.05};
    const double margin = std::max(0.06 * (high - low), 1e-9 + 1e-6 * std::abs(high));
    return {low == 0 ? -margin / 2 : low - margin, high + margin};
}

bool wants_log(const SweepCurve& curve) {
    double low = std::numeric_limits<double>::infinity(), high = 0;
    for (const double v : curve.value)
        if (v > 0) low = std::min(low, v), high = std::max(high, v);
    return high > 20 * low;
}

int nearest_row(const gs::SweepResult& sweep, double k) {
    int best = -1;
    for (int i = 0; i < static_cast<int>(sweep.rows.size()); ++i)
        if (best < 0 || std::abs(sweep.rows[static_cast<size_t>(i)].policy.k - k) < std::abs(sweep.rows[static_cast<size_t>(best)].policy.k - k)) best = i;
    return best;
}

int n_complete_rows(const gs::SweepResult& sweep) {
    const int whole = sweep.n_to_score();
    return static_cast<int>(std::count_if(sweep.rows.begin(), sweep.rows.end(), [&](const gs::PolicyScore& s) { return s.n_scored >= whole; }));
}

std::string base_text(const gs::SweepResult& sweep) {
    gs::Policy base = sweep.plan.base;
    base.rule = gs::Policy{}.rule;
    base.k = gs::Policy{}.k;
    return base.to_text();
}

bool comparable(const gs::SweepResult& a, const gs::SweepResult& b) {
    return a.model_hash == b.model_hash && a.ids == b.ids && !b.rows.empty();
}

}  // namespace app
