#include "engine/ops/host_routers.h"

#include <algorithm>

#include "engine/core/check.h"

namespace gs {

void HostRouters::set(std::span<const LayerRouter> layers) {
    m_layers.clear();
    for (const LayerRouter& l : layers) m_layers.push_back({l.spec, l.policy, {l.selection_bias.begin(), l.selection_bias.end()}});
}

void HostRouters::route(const RouteCall& call) {
    GS_CHECK(call.layer >= 0 && static_cast<size_t>(call.layer) < m_layers.size(), "no router was set for this layer");
    const Layer& layer = m_layers[static_cast<size_t>(call.layer)];
    for (int t = 0; t < call.logits.n_rows; ++t) {
        gs::route(layer.spec, layer.policy, {call.logits.row(t), static_cast<size_t>(call.logits.n_cols)}, layer.selection_bias, m_row,
                  call.first_position + t);
        GS_CHECK(m_row.k() <= call.k_stride, "no room for the experts of a token");
        call.n_used[t] = m_row.k();
        std::copy(m_row.ids.begin(), m_row.ids.end(), call.ids + static_cast<ptrdiff_t>(t) * call.k_stride);
        std::copy(m_row.weights.begin(), m_row.weights.end(), call.weights + static_cast<ptrdiff_t>(t) * call.k_stride);
        if (m_row.nonfinite) *call.nonfinite = 1;
    }
}

}  // namespace gs
