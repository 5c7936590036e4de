#include "engine/routing/importance.h"

#include <algorithm>

#include "engine/core/check.h"

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
