// The figures behind the co-activation panel, of a study or of the run on screen, kept until their source or the choice changes.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "app/views/layer_plot.h"
#include "app/views/view.h"
#include "engine/routing/coactivation.h"
#include "engine/run/expert_study.h"

namespace app {

/// A square of experts with shares, what loads alone give, and bands: pairs of a layer or flow between two.
struct PairTable {
    int n_experts = 0;
    uint64_t revision = 0;
    std::string caption, title;            ///< title: "layer 3", "layer 3 → 4"
    std::vector<uint32_t> tokens;          ///< [E] of the expert in the column
    std::vector<uint32_t> both;            ///< [E, E]
    std::vector<double> share, expected;   ///< [E, E]; NaN: none
    std::vector<gs::Band> bands;           ///< [E, E] of the share

    size_t at(int e, int other) const { return static_cast<size_t>(e) * static_cast<size_t>(n_experts) + static_cast<size_t>(other); }
    /// The share, or log2 of share over expected (−∞: never together); NaN where there is none.
    float value(int e, int other, bool ratio) const;
    float most(bool ratio) const;   ///< how far the colours go
};

struct RepetitionCurves {
    std::vector<LayerCurve> curves;        ///< same first choice, any expert in common, same token id
    std::string caption;
};

class RoutedSource {
public:
    void set_study(const std::shared_ptr<const gs::ExpertStudy>& study);
    void set_run(const gs::TraceSnapshot& trace);
    bool is_study() const { return m_study != nullptr; }
    const gs::TraceSnapshot& trace() const { return m_trace; }
    int n_tokens() const { return m_tokens.n(); }

    gs::CoActivation pairs(int moe_layer, gs::PairMode mode) const { return gs::co_activation(m_layers[static_cast<size_t>(moe_layer)], mode); }
    gs::CrossLayerFlow flow(int from, int to) const { return gs::cross_layer_flow(m_layers[static_cast<size_t>(from)], m_layers[static_cast<size_t>(to)]); }
    const PairTable& pair_table(int moe_layer, gs::PairMode mode);
    const PairTable& flow_table(int from, int to);
    const RepetitionCurves& repetition();
    std::string repetition_csv();
    const gs::Repetition& repetition_of(int moe_layer) { return repeated()[static_cast<size_t>(moe_layer)].first; }
    const gs::IdEffect& id_effect_of(int moe_layer) { return repeated()[static_cast<size_t>(moe_layer)].second; }

private:
    using Repeated = std::vector<std::pair<gs::Repetition, gs::IdEffect>>;
    const Repeated& repeated();
    void clear();

    std::shared_ptr<const gs::ExpertStudy> m_study;
    gs::TraceSnapshot m_trace;
    uint64_t m_trace_revision = 0, m_revision = 0;
    gs::StudyTokens m_tokens;
    std::vector<gs::LayerRoutes> m_layers;
    PairTable m_table;
    /// m_table is of that key already; else it is of it from now on, and to be made.
    bool is_table_of(std::array<int, 3> key);
    std::array<int, 3> m_table_key = {-1, -1, -1};   ///< kind, layer, mode or other layer
    Repeated m_repeated;
    RepetitionCurves m_curves;
};

void pair_card(const PairTable& table, int expert, int other);
void repetition_card(RoutedSource& source, int moe_layer);
/// Pairs by share, the most first. Returns the expert whose row was clicked, or -1.
int draw_pair_table(ViewContext& context, const PairTable& table, const Pick& pick, ImVec2 size);

}  // namespace app
