#include "app/views/heatmap_panel_picture.h"

#include <algorithm>
#include <cmath>

namespace app {

PictureSpec PictureSpec::normalized() const {
    PictureSpec out;
    out.kind = kind;
    switch (kind) {
        case PictureKind::kTokenExpert:
            out.quantity = quantity;
            out.moe_layer = moe_layer;
            break;
        case PictureKind::kLayerExpert:
            out.over_run = over_run;
            if (over_run) out.phase = phase;
            else out.quantity = quantity, out.token = token;
            break;
        case PictureKind::kTokenLayer: out.scalar = scalar; break;
    }
    return out;
}

std::span<const float> RoutePicture::column(int col) const {
    return std::span(m_values).subspan(static_cast<size_t>(col) * static_cast<size_t>(m_n_rows), static_cast<size_t>(m_n_rows));
}

bool RoutePicture::update(const gs::TraceSnapshot& trace, const PictureSpec& asked) {
    const PictureSpec spec = asked.normalized();
    const uint64_t generation = m_follower.generation();
    const int first_new = m_follower.update(trace);
    const bool other = !m_made || m_follower.generation() != generation || spec != m_spec;
    const bool over_run = spec.kind == PictureKind::kLayerExpert && spec.over_run;
    const bool counted = over_run && m_stats.update(trace, spec.phase);
    const bool by_token = spec.kind != PictureKind::kLayerExpert;
    m_reader.set_trace(trace);
    if (!other && !counted && (first_new == trace.n_tokens() || !by_token)) return false;

    m_spec = spec;
    m_made = true;
    m_n_cols = by_token ? trace.n_tokens() : trace.n_experts();
    m_n_rows = spec.kind == PictureKind::kTokenExpert ? trace.n_experts() : n_model_layers(trace.info());
    if (other || !by_token) ++m_revision;
    fill(other || !by_token ? 0 : first_new);
    return true;
}

void RoutePicture::fill(int first_col) {
    const auto n_rows = static_cast<size_t>(m_n_rows);
    m_values.resize(static_cast<size_t>(m_n_cols) * n_rows);
    if (first_col == 0) m_any = false, m_plain_preference = true;
    const std::span<float> fresh = std::span(m_values).subspan(static_cast<size_t>(first_col) * n_rows);
    if (m_spec.kind == PictureKind::kLayerExpert) fill_layers();
    for (int col = first_col; col < m_n_cols && m_spec.kind != PictureKind::kLayerExpert; ++col) {
        fill_token(col, fresh.subspan(static_cast<size_t>(col - first_col) * n_rows, n_rows));
    }
    for (float v : fresh) {
        if (!std::isfinite(v)) continue;
        m_low = m_any ? std::min(m_low, v) : v;
        m_high = m_any ? std::max(m_high, v) : v;
        m_any = true;
    }
}

void RoutePicture::fill_token(int token, std::span<float> out) {
    if (m_spec.kind == PictureKind::kTokenExpert) {
        m_reader.column(m_spec.quantity, m_spec.moe_layer, token, out);
        m_plain_preference = m_plain_preference && m_reader.policy(m_spec.moe_layer, token).temperature == 1.0f;
        return;
    }
    const std::vector<int>& layers = m_reader.trace().info().moe_layers;
    std::fill(out.begin(), out.end(), kNoValue);           // dense layers stay so
    for (size_t m = 0; m < layers.size(); ++m) out[static_cast<size_t>(layers[m])] = m_reader.scalar(m_spec.scalar, static_cast<int>(m), token);
}

void RoutePicture::fill_layers() {
    const std::vector<int>& layers = m_reader.trace().info().moe_layers;
    std::fill(m_values.begin(), m_values.end(), kNoValue);
    m_experts.resize(static_cast<size_t>(m_n_cols));
    for (size_t m = 0; m < layers.size(); ++m) {
        const int moe_layer = static_cast<int>(m);
        if (!m_spec.over_run) m_reader.column(m_spec.quantity, moe_layer, m_spec.token, m_experts);
        for (size_t e = 0; e < m_experts.size(); ++e) {
            const float value = m_spec.over_run ? static_cast<float>(m_stats.layer(moe_layer).share(static_cast<int>(e))) : m_experts[e];
            m_values[e * static_cast<size_t>(m_n_rows) + static_cast<size_t>(layers[m])] = value;
        }
    }
}

ValueRange RoutePicture::data_range() const {
    if (!m_any) return {};
    const bool weights = m_spec.kind != PictureKind::kTokenLayer && m_spec.quantity == Quantity::kAppliedWeight;
    if (weights && m_low >= 0 && m_high > 0) return {0, m_high};  // what is not chosen weighs nothing
    if (m_high > m_low) return {m_low, m_high};
    // One value everywhere: a range around it, so that the colour is that of the middle and the bar still has two ends.
    const float half = std::max(std::fabs(m_low) * 0.5f, 0.5f);
    return {m_low - half, m_high + half};
}

Pick RoutePicture::pick_of(int col, int row) const {
    Pick pick;
    const gs::TraceInfo& info = m_reader.trace().info();
    if (m_spec.kind == PictureKind::kTokenExpert) {
        pick = {.token = col, .moe_layer = m_spec.moe_layer, .expert = row};
    } else {
        pick.moe_layer = moe_row_of(info, row);
        if (m_spec.kind == PictureKind::kTokenLayer) pick.token = col;
        else pick.expert = col, pick.token = m_spec.over_run ? -1 : m_spec.token;
    }
    return pick;
}

int RoutePicture::col_of(const Pick& pick) const {
    const int col = m_spec.kind == PictureKind::kLayerExpert ? pick.expert : pick.token;
    return col < m_n_cols ? col : -1;
}

int RoutePicture::row_of(const Pick& pick) const {
    if (m_spec.kind != PictureKind::kTokenExpert) return model_layer(m_reader.trace().info(), pick.moe_layer);
    // An expert of another layer is not this expert (experts of different layers are never pooled).
    const bool same_layer = pick.moe_layer < 0 || pick.moe_layer == m_spec.moe_layer;
    return same_layer && pick.expert < m_n_rows ? pick.expert : -1;
}

ValueRange color_range(const RoutePicture& picture, const gs::RouterSpec& router, bool auto_range) {
    const ValueRange data = picture.data_range();
    // Nearly 0 is drawn as 0: a bar that starts at 1e-5 would only look as if that mattered.
    if (auto_range) return data.low >= 0 && data.low < 0.1f * data.high ? ValueRange{0, data.high} : data;
    const PictureSpec& spec = picture.spec();
    const float largest_weight = std::max(1.0f, router.scale);
    if (spec.kind == PictureKind::kTokenLayer) {
        if (spec.scalar == RouteScalar::kTopWeight) return {0, largest_weight};
        if (spec.scalar == RouteScalar::kEntropy) return {0, std::log(static_cast<float>(std::max(2, router.n_experts)))};
        return {std::min(0.0f, data.low), data.high};
    }
    if (spec.kind == PictureKind::kLayerExpert && spec.over_run) return {0, 1};
    if (spec.quantity == Quantity::kAppliedWeight) return {0, largest_weight};
    const bool unbounded = spec.quantity == Quantity::kSelectionScore && (router.select_by_logits || data.low < 0 || data.high > 1);
    if (unbounded || router.score == gs::ScoreFn::kSqrtSoftplus) return data;
    return {0, 1};
}

const char* value_title(const PictureSpec& spec) {
    if (spec.kind == PictureKind::kTokenLayer) return title_of(spec.scalar);
    return spec.kind == PictureKind::kLayerExpert && spec.over_run ? "share of tokens" : title_of(spec.quantity);
}

}  // namespace app
