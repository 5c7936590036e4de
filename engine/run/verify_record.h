// Internal to engine/run: everything one run over a golden prompt computes, laid out as the goldens are.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "engine/decode/decoder.h"

namespace gs {

struct RoutedRow {
    std::vector<float> logits, weights;
    std::vector<int32_t> ids;
    /// How far the k-th selection score is above the next one; infinite when all experts that may be are chosen.
    double margin(const RouterSpec& spec, std::span<const float> selection_bias, size_t k) const;
};

class RunRecord final : public RouteSink {
public:
    /// start: position of the first token.
    RunRecord(const ModelSpec& spec, int start) : m_spec(spec), m_start(start), m_rows(spec.moe_layers.size()) {}

    /// The next forward() starts at this position.
    void begin(int position) { m_position = position - m_start; }
    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids,
                  std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) override;
    void keep(Tap tap, int layer, int first_row, int n_rows, std::span<const float> values);

    int n_tokens() const { return m_rows.empty() ? 0 : static_cast<int>(m_rows[0].size()); }
    const RoutedRow& row(int moe_layer, int token) const { return m_rows[static_cast<size_t>(moe_layer)][static_cast<size_t>(token)]; }
    std::vector<float> router_logits() const;         ///< [M, T, E]
    std::vector<float> tapped(Tap tap) const;         ///< [layers, T, D], layers ascending
    std::vector<float> logits;                        ///< [rows asked for, V]

private:
    const ModelSpec& m_spec;
    int m_start = 0, m_position = 0;
    std::vector<std::vector<RoutedRow>> m_rows;                         ///< [M][T]
    std::map<Tap, std::map<int, std::vector<float>>> m_taps;            ///< by layer: [T, D]
};

}  // namespace gs
