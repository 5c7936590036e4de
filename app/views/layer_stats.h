// Load statistics of every MoE layer of the run on screen, kept up to date token by token and never recomputed per frame.
//
//   RunStats stats;                                       // owned by the panel
//   stats.update(trace, gs::PhaseFilter::kBoth);          // every frame; does nothing unless trace or phase changed
//   stats.layer(3).share(e)
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "app/views/route_data.h"
#include "engine/routing/metrics.h"

namespace app {

struct LayerStats {
    gs::LayerLoad load;
    gs::BalanceMetrics balance;
    gs::UniformNull null;                  ///< for T = load.n_tokens and the mean k
    double mean_k = 0;                     ///< n_assignments / T

    /// Share of the tokens that used this expert, 0..1; NaN without tokens.
    double share(int expert) const;
    /// 1 = most loaded; ties: lower expert first.
    int rank(int expert) const;
};

class RunStats {
public:
    /// True when something changed.
    bool update(const gs::TraceSnapshot& trace, gs::PhaseFilter phase);
    int n_layers() const { return static_cast<int>(m_layers.size()); }
    const LayerStats& layer(int moe_layer) const { return m_layers[static_cast<size_t>(moe_layer)]; }
    double max_share() const { return m_max_share; }       ///< over all layers and experts, for a common scale
    /// Changes with the content.
    uint64_t revision() const { return m_revision; }

private:
    void count(const gs::TraceSnapshot& trace, int first_token);
    void summarize(gs::PhaseFilter phase);

    TraceFollower m_follower;
    std::array<std::vector<gs::LayerLoad>, 2> m_loads;     ///< [phase][MoE layer]
    std::vector<LayerStats> m_layers;
    gs::PhaseFilter m_phase = gs::PhaseFilter::kBoth;
    double m_max_share = 0;
    uint64_t m_revision = 0;
};

/// What the five balance metrics are, for hover texts: formula, range, and what a uniform router would show.
struct MetricFact {
    const char* name;
    const char* formula;
    const char* range;                     ///< "0 to 1; 1 = perfectly even"
};
enum class BalanceMetric : uint8_t { kEntropy, kEffective, kCv, kGini, kMaxVio, kIdle };
inline constexpr BalanceMetric kBalanceMetrics[] = {BalanceMetric::kEntropy, BalanceMetric::kEffective, BalanceMetric::kCv,
                                                    BalanceMetric::kGini,    BalanceMetric::kMaxVio,    BalanceMetric::kIdle};
MetricFact fact_of(BalanceMetric metric);
double value_of(BalanceMetric metric, const LayerStats& stats);
/// Expected value for a uniform independent router with the same E, k and T; NaN without tokens. CV: exact in the mean square; Gini and MaxVio
/// from it for normally distributed counts (good when T·k/E is above about 5).
double null_of(BalanceMetric metric, const LayerStats& stats);

/// Experts ordered by load, most loaded first; ties: lower expert first.
std::vector<int> order_by_load(const gs::LayerLoad& load);

}  // namespace app
