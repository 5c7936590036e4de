// What the sensitivity panel draws, as plain values: the map as a matrix of layers × k, and the schedule that a budget asks for. No drawing.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "app/views/heatmap_panel_picture.h"
#include "engine/run/schedule.h"
#include "engine/run/session.h"

namespace app {

enum class SensitivityQuantity : uint8_t { kKl, kPerplexity, kTop1 };

/// Value of a cell: NaN while it is not measured, and where a logarithm is asked of a KL of 0 (a layer at its own k).
float sensitivity_value(const gs::SensitivityCell& cell, SensitivityQuantity quantity, bool log_scale);
/// Of all finite values; 0..1 when there are none.
ValueRange sensitivity_range(const gs::SensitivityMap& map, SensitivityQuantity quantity, bool log_scale);
/// "KL (nats)", "log10 KL (nats)", "perplexity", "same top token".
const char* title_of(SensitivityQuantity quantity, bool log_scale);

/// Row of a column of the map: the largest k is on top.
inline int row_of_column(const gs::SensitivityMap& map, int column) { return map.n_ks() - 1 - column; }

/// Plans of the newest complete map, made once and asked in every frame while a budget is dragged.
class SchedulePlans {
public:
    /// Cheap when it is the map of before. Null or unfinished: no plans.
    void set_map(std::shared_ptr<const gs::SensitivityMap> map);
    bool ready() const { return m_by_kl != nullptr; }
    const gs::SensitivityMap& map() const { return *m_map; }
    /// True once after a new map came.
    bool take_new() { return std::exchange(m_is_new, false); }

    /// Nothing when no schedule keeps the budget, as predicted.
    std::optional<gs::LayerSchedule> plan(const gs::Budget& budget) const;
    /// What the map expects of any choice of its k.
    gs::Prediction predict(gs::BudgetKind kind, std::span<const int> ks) const { return planner(kind).predict(ks); }
    /// Smallest and largest sensible limit of a kind on this map, and one to begin with: what the largest k below the native one costs.
    struct Limits {
        double low = 0, high = 1, start = 0;
    };
    Limits limits(gs::BudgetKind kind) const;
    /// Predicted bytes and loss (KL, or perplexity for that kind) of the cheapest schedules, by growing bytes.
    struct Frontier {
        std::vector<double> bytes, loss;
    };
    const Frontier& frontier(gs::BudgetKind kind) const { return kind == gs::BudgetKind::kPerplexity ? m_nll_frontier : m_kl_frontier; }

private:
    const gs::SchedulePlanner& planner(gs::BudgetKind kind) const { return kind == gs::BudgetKind::kPerplexity ? *m_by_nll : *m_by_kl; }
    Frontier trace_frontier(gs::BudgetKind kind) const;

    std::shared_ptr<const gs::SensitivityMap> m_map;
    std::unique_ptr<gs::SchedulePlanner> m_by_kl, m_by_nll;
    Frontier m_kl_frontier, m_nll_frontier;
    bool m_is_new = false;
};

}  // namespace app
