#include "app/views/sensitivity_picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace app {

float sensitivity_value(const gs::SensitivityCell& cell, SensitivityQuantity quantity, bool log_scale) {
    if (cell.n_scored == 0) return kNoValue;
    switch (quantity) {
        case SensitivityQuantity::kKl: break;
        case SensitivityQuantity::kPerplexity: return static_cast<float>(std::exp(cell.nll));
        case SensitivityQuantity::kTop1: return static_cast<float>(cell.top1_agreement);
    }
    if (!log_scale) return static_cast<float>(cell.kl);
    return cell.kl > 0 ? static_cast<float>(std::log10(cell.kl)) : kNoValue;
}

ValueRange sensitivity_range(const gs::SensitivityMap& map, SensitivityQuantity quantity, bool log_scale) {
    ValueRange range{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
    for (const gs::SensitivityCell& cell : map.cells) {
        const float value = sensitivity_value(cell, quantity, log_scale);
        if (!std::isfinite(value)) continue;
        range.low = std::min(range.low, value);
        range.high = std::max(range.high, value);
    }
    if (range.low > range.high) return {0, 1};
    if (range.low == range.high) range.high = range.low + std::max(1e-6f, std::abs(range.low) * 1e-3f);
    return range;
}

const char* title_of(SensitivityQuantity quantity, bool log_scale) {
    switch (quantity) {
        case SensitivityQuantity::kKl: return log_scale ? "log10 KL (nats)" : "KL (nats)";
        case SensitivityQuantity::kPerplexity: return "perplexity";
        case SensitivityQuantity::kTop1: break;
    }
    return "same top token";
}

void SchedulePlans::set_map(std::shared_ptr<const gs::SensitivityMap> map) {
    if (map && !map->complete) map = nullptr;
    if (map == m_map) return;
    m_by_kl.reset();
    m_by_nll.reset();
    m_map = std::move(map);
    if (!m_map) return;
    m_by_kl = std::make_unique<gs::SchedulePlanner>(*m_map, gs::BudgetKind::kKl);
    m_by_nll = std::make_unique<gs::SchedulePlanner>(*m_map, gs::BudgetKind::kPerplexity);
    m_kl_frontier = trace_frontier(gs::BudgetKind::kKl);
    m_nll_frontier = trace_frontier(gs::BudgetKind::kPerplexity);
    m_is_new = true;
}

SchedulePlans::Frontier SchedulePlans::trace_frontier(gs::BudgetKind kind) const {
    constexpr int kMostPoints = 400;                       // a plot is no wider
    Frontier out;
    const gs::LayerAllocation& allocation = planner(kind).allocation();
    const int step = std::max(1, (allocation.max_total() - allocation.min_total()) / kMostPoints);
    for (int total = allocation.min_total(); total <= allocation.max_total(); total += step) {
        const gs::Prediction p = planner(kind).at(total).predicted;
        if (!out.bytes.empty() && p.bytes_per_token <= out.bytes.back()) continue;   // no better than with fewer experts
        out.bytes.push_back(p.bytes_per_token);
        out.loss.push_back(kind == gs::BudgetKind::kPerplexity ? p.perplexity : p.kl);
    }
    return out;
}

std::optional<gs::LayerSchedule> SchedulePlans::plan(const gs::Budget& budget) const {
    const gs::SchedulePlanner& by = planner(budget.kind);
    const int total = by.total_for(budget);
    if (total < 0) return std::nullopt;
    return by.at(total);
}

SchedulePlans::Limits SchedulePlans::limits(gs::BudgetKind kind) const {
    const auto value = [&](const gs::PolicyScore& s) { return kind == gs::BudgetKind::kBytes ? s.bytes_per_token : loss_of(kind, s); };
    Limits out{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(), 0};
    for (const gs::PolicyScore& s : m_map->uniform) {
        out.low = std::min(out.low, value(s));
        out.high = std::max(out.high, value(s));
    }
    const Frontier& planned = frontier(kind);
    if (kind != gs::BudgetKind::kBytes) out.low = std::min(out.low, planned.loss.back());
    if (kind == gs::BudgetKind::kKl) out.low = std::max(out.low, 0.0);
    const int native = m_map->column_of(m_map->base_k.front());
    out.start = value(m_map->uniform[static_cast<size_t>(std::max(native - 1, 0))]);
    return out;
}

}  // namespace app
