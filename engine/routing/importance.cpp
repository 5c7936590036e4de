#include "engine/routing/importance.h"

#include <algorithm>

#include "engine/core/check.h"
#include "engine/routing/metrics.h"

namespace gs {

std::vector<ExpertImportance> expert_importance(const LayerRoutes& routes, const SlotOutputs& outputs) {
    const bool measured = !outputs.norm.empty();
    GS_CHECK(!measured || outputs.norm.size() == routes.ids.size(), "outputs of every slot, or of none");
    std::vector<ExpertImportance> out(static_cast<size_t>(routes.n_experts));
    for (size_t slot = 0; slot < routes.ids.size(); ++slot) {
        ExpertImportance& e = out[routes.ids[slot]];
        ++e.n;
        e.weighted_frequency += static_cast<double>(routes.weights[slot]);
        if (!measured) continue;
        e.ean_sum += static_cast<double>(outputs.norm[slot]);
        e.weighted_ean += static_cast<double>(outputs.part[slot]);
        e.max_norm = std::max(e.max_norm, static_cast<double>(outputs.norm[slot]));
        e.cosine += static_cast<double>(outputs.cosine[slot]);
        e.cosine_orthogonal += static_cast<double>(outputs.orthogonal[slot]);
    }
    for (ExpertImportance& e : out) {
        if (e.n == 0) continue;
        e.frequency = static_cast<double>(e.n) / routes.n_tokens();
        e.mean_weight = e.weighted_frequency / e.n;
        e.ean_mean = e.ean_sum / e.n;
        e.reap = e.weighted_ean / e.n;
        e.cosine /= e.n;
        e.cosine_orthogonal /= e.n;
    }
    return out;
}

std::vector<ImportanceNull> importance_nulls(const LayerRoutes& routes, const SlotOutputs& outputs) {
    const bool measured = !outputs.norm.empty();
    GS_CHECK(!measured || outputs.norm.size() == routes.ids.size(), "outputs of every slot, or of none");
    std::vector<uint32_t> used(static_cast<size_t>(routes.n_experts));
    for (const uint16_t id : routes.ids) ++used[id];
    const UniformNull uniform = uniform_null(routes.n_experts, routes.mean_k(), static_cast<uint32_t>(routes.n_tokens()));
    const DrawnValues weights(routes.weights), norms(outputs.norm), parts(outputs.part), cosines(outputs.cosine);
    std::vector<ImportanceNull> out(used.size());
    for (size_t e = 0; e < used.size(); ++e) {
        const uint32_t n = used[e];
        out[e].frequency = {uniform.share, {uniform.band_low, uniform.band_high}};
        if (n == 0) continue;
        out[e].mean_weight = weights.mean_of(n);
        out[e].weighted_frequency = out[e].mean_weight.times(n);
        if (!measured) continue;
        out[e].ean_mean = norms.mean_of(n);
        out[e].ean_sum = out[e].ean_mean.times(n);
        out[e].reap = parts.mean_of(n);
        out[e].weighted_ean = out[e].reap.times(n);
        out[e].max_norm = norms.largest_of(n);
        out[e].cosine = cosines.mean_of(n);
    }
    return out;
}

std::span<const ImportanceFigure> importance_figures() {
    using I = ExpertImportance;
    using N = ImportanceNull;
    static constexpr ImportanceFigure kFigures[] = {
        {"frequency", "share", "share of tokens that use it", &I::frequency, &N::frequency},
        {"weighted frequency", "weighted_frequency", "Σ applied weight g over its tokens", &I::weighted_frequency, &N::weighted_frequency},
        {"mean weight", "mean_weight", "mean g over its tokens", &I::mean_weight, &N::mean_weight},
        {"EAN", "ean", "mean output norm ‖f(x)‖ over its tokens", &I::ean_mean, &N::ean_mean},
        {"EAN sum", "ean_sum", "Σ ‖f(x)‖", &I::ean_sum, &N::ean_sum},
        {"weighted EAN", "weighted_ean", "Σ g ‖f(x)‖", &I::weighted_ean, &N::weighted_ean},
        {"REAP", "reap", "mean g ‖f(x)‖ over its tokens", &I::reap, &N::reap},
        {"largest norm", "max_norm", "max ‖f(x)‖", &I::max_norm, &N::max_norm},
        {"cosine", "cosine", "mean cosine of its output with the routed sum", &I::cosine, &N::cosine},
    };
    return kFigures;
}

SingleExpertCosine single_expert_cosine(const LayerRoutes& routes, const SlotOutputs& outputs) {
    SingleExpertCosine out;
    if (outputs.cosine.empty()) return out;
    for (int t = 0; t < routes.n_tokens(); ++t) {
        const size_t slot = routes.begin[static_cast<size_t>(t)];
        if (routes.of(t).empty()) continue;
        ++out.n;
        out.cosine += static_cast<double>(outputs.cosine[slot]);
        out.orthogonal += static_cast<double>(outputs.orthogonal[slot]);
    }
    if (out.n > 0) out.cosine /= out.n, out.orthogonal /= out.n;
    return out;
}

int rank_of(std::span<const double> values, size_t index) {
    int rank = 1;
    for (size_t i = 0; i < values.size(); ++i) rank += values[i] > values[index] || (values[i] == values[index] && i < index);
    return rank;
}

}  // namespace gs
