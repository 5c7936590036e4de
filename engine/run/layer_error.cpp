#include "engine/run/layer_error.h"

#include <algorithm>
#include <cmath>

namespace gs {

LayerErrors::LayerErrors(Decoder& decoder, int first_scored, int n_tokens, int n_wanted)
    : m_decoder(decoder), m_width(static_cast<size_t>(decoder.model().spec.n_embd)), m_first(first_scored), m_end(n_tokens),
      m_stride(n_wanted > 0 ? std::max(1, (n_tokens - first_scored + n_wanted - 1) / n_wanted) : 0), m_inputs(decoder.model().spec.moe_layers.size()),
      m_native(m_inputs.size()) {}

bool LayerErrors::wants(int position) const {
    return m_stride > 0 && position >= m_first && position < m_end && (position - m_first) % m_stride == m_stride / 2;
}

int LayerErrors::n_wanted() const {
    const int n = m_end - m_first;
    return m_stride == 0 || n <= 0 ? 0 : (n - m_stride / 2 + m_stride - 1) / m_stride;
}

void LayerErrors::keep(int moe_layer, int first_position, std::span<const float> rows) {
    std::vector<float>& kept = m_inputs[static_cast<size_t>(moe_layer)];
    const int n_rows = static_cast<int>(rows.size() / m_width);
    for (int r = 0; r < n_rows; ++r) {
        const auto row = rows.subspan(static_cast<size_t>(r) * m_width, m_width);
        if (wants(first_position + r)) kept.insert(kept.end(), row.begin(), row.end());
    }
}

void LayerErrors::begin_window() {
    for (std::vector<float>& kept : m_inputs) kept.clear();
}

/// In passes of equal size for every policy: the same routing then gives the same bits.
Result<void> LayerErrors::outputs(size_t moe_layer, std::vector<float>& out, const CancelFlag* cancel) {
    const std::span<const float> inputs = m_inputs[moe_layer];
    const size_t most = static_cast<size_t>(std::min(kPassTokens, m_decoder.n_ctx())) * m_width;
    out.resize(inputs.size());
    for (size_t at = 0; at < inputs.size(); at += most) {
        const size_t n = std::min(most, inputs.size() - at);
        GS_TRY_VOID(m_decoder.routed_output(static_cast<int>(moe_layer), inputs.subspan(at, n), std::span(out).subspan(at, n), cancel));
    }
    return {};
}

Result<void> LayerErrors::run_native(const CancelFlag* cancel) {
    m_decoder.set_policy(Policy{});
    for (size_t m = 0; m < m_inputs.size(); ++m) GS_TRY_VOID(outputs(m, m_native[m], cancel));
    return {};
}

/// ‖y − reference‖ / ‖reference‖, or NaN.
static double relative_error(std::span<const float> y, std::span<const float> reference) {
    double off = 0, norm = 0;
    for (size_t i = 0; i < y.size(); ++i) {
        const double r = static_cast<double>(reference[i]), difference = static_cast<double>(y[i]) - r;
        off += difference * difference;
        norm += r * r;
    }
    return off == 0 ? 0 : norm > 0 ? std::sqrt(off / norm) : std::nan("");
}

Result<void> LayerErrors::run(const Policy& policy, LayerErrorTotals& totals, const CancelFlag* cancel) {
    if (policy.is_by_batch()) return {};   // what a token gets depends on the others: no figure of single tokens
    m_decoder.set_policy(policy);
    std::vector<RunningMean> of_token(m_inputs.empty() ? 0 : m_inputs.front().size() / m_width);
    for (size_t m = 0; m < m_inputs.size(); ++m) {
        GS_TRY_VOID(outputs(m, m_outputs, cancel));
        for (size_t t = 0; t < of_token.size(); ++t) {
            const double error = relative_error(std::span<const float>(m_outputs).subspan(t * m_width, m_width), std::span<const float>(m_native[m]).subspan(t * m_width, m_width));
            if (std::isnan(error)) continue;
            totals.layers[m].add(error);
            of_token[t].add(error);
        }
    }
    for (const RunningMean& token : of_token)
        if (token.n > 0) totals.all.add(token.mean);
    return {};
}

}  // namespace gs
