#include "engine/run/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/core/check.h"
#include "engine/run/k_grid.h"

namespace gs {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Error bad_budget(const std::string& text, std::string why) {
    return {ErrorKind::kUsage, "bad_budget", fmt::format("The budget \"{}\"", text), std::move(why), "For example kl=0.05, perplexity=21.5 or bytes=60MB"};
}

/// [M, K] loss of every cell beyond that of the unchanged base policy.
std::vector<double> excess_loss(const SensitivityMap& map, BudgetKind kind) {
    GS_CHECK(map.complete, "a schedule needs the whole map");
    const bool by_nll = kind == BudgetKind::kPerplexity;
    std::vector<double> loss;
    for (const SensitivityCell& cell : map.cells) loss.push_back(by_nll ? cell.nll - map.unchanged.nll : cell.kl - map.unchanged.kl);
    return loss;
}

/// The budget in the planner's units: Σ excess loss, or Σ k.
double excess_limit(const SensitivityMap& map, const Budget& budget) {
    if (budget.kind == BudgetKind::kKl) return budget.limit - map.unchanged.kl;
    return std::log(budget.limit) - map.unchanged.nll;
}

}  // namespace

const char* name_of(BudgetKind kind) {
    constexpr std::array names = {"kl", "perplexity", "bytes"};
    return names[static_cast<size_t>(kind)];
}

double loss_of(BudgetKind kind, const PolicyScore& score) { return kind == BudgetKind::kPerplexity ? score.perplexity : score.kl; }

Result<Budget> Budget::parse(const std::string& text) {
    Budget budget;
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos) return bad_budget(text, "it has no =");
    if (name == "kl")
        budget.kind = BudgetKind::kKl;
    else if (name == "perplexity")
        budget.kind = BudgetKind::kPerplexity;
    else if (name == "bytes")
        budget.kind = BudgetKind::kBytes;
    else
        return bad_budget(text, fmt::format("\"{}\" is not kl, perplexity or bytes", name));
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + equals + 1, end, budget.limit);
    if (error != std::errc()) return bad_budget(text, "what follows the = is not a number");
    const std::string unit(rest, end);
    constexpr std::pair<const char*, double> kUnits[] = {{"", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}};
    const auto* scale = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& u) { return unit == u.first; });
    if (scale == std::end(kUnits) || (budget.kind != BudgetKind::kBytes && !unit.empty())) return bad_budget(text, fmt::format("\"{}\" is no unit of it", unit));
    budget.limit *= scale->second;
    const double least = budget.kind == BudgetKind::kPerplexity ? 1 : 0;
    if (!std::isfinite(budget.limit) || budget.limit < least) return bad_budget(text, fmt::format("it must be a number from {} on", least));
    return budget;
}

std::string Budget::to_text() const { return fmt::format("{}={}", name_of(kind), limit); }

LayerAllocation::LayerAllocation(std::span<const int> costs, std::span<const double> loss)
    : m_n_layers(costs.empty() ? 0 : static_cast<int>(loss.size() / costs.size())), m_costs(costs.begin(), costs.end()) {
    GS_CHECK(!costs.empty() && costs.front() > 0 && loss.size() % costs.size() == 0 && m_n_layers > 0, "a loss for every layer and cost");
    GS_CHECK(costs.size() <= std::numeric_limits<uint16_t>::max(), "more columns than a choice can name");
    const auto n_columns = m_costs.size();
    m_best.assign(index(m_n_layers + 1, 0), kInfinity);
    m_choice.assign(m_best.size(), 0);
    m_best[0] = 0;
    for (int layer = 0; layer < m_n_layers; ++layer)
        for (int total = 0; total <= layer * m_costs.back(); ++total) {
            const double before = m_best[index(layer, total)];
            if (before == kInfinity) continue;
            for (size_t column = 0; column < n_columns; ++column) {
                const size_t to = index(layer + 1, total + m_costs[column]);
                const double sum = before + loss[static_cast<size_t>(layer) * n_columns + column];
                if (sum >= m_best[to]) continue;
                m_best[to] = sum;
                m_choice[to] = static_cast<uint16_t>(column);
            }
        }
    m_cheapest.assign(static_cast<size_t>(max_total()) + 1, -1);
    int best = -1;
    for (int total = min_total(); total <= max_total(); ++total) {
        if (best < 0 || m_best[index(m_n_layers, total)] < m_best[index(m_n_layers, best)]) best = total;
        m_cheapest[static_cast<size_t>(total)] = best;
    }
}

double LayerAllocation::loss(int total) const {
    if (total < min_total()) return kInfinity;
    return m_best[index(m_n_layers, m_cheapest[static_cast<size_t>(std::min(total, max_total()))])];
}

std::vector<int> LayerAllocation::columns(int total) const {
    GS_CHECK(total >= min_total(), "every layer uses at least the smallest cost");
    std::vector<int> columns(static_cast<size_t>(m_n_layers));
    int left = m_cheapest[static_cast<size_t>(std::min(total, max_total()))];
    for (int layer = m_n_layers; layer > 0; --layer) {
        const int column = m_choice[index(layer, left)];
        columns[static_cast<size_t>(layer) - 1] = column;
        left -= m_costs[static_cast<size_t>(column)];
    }
    return columns;
}

int LayerAllocation::cheapest(double limit) const {
    for (int total = min_total(); total <= max_total(); ++total)
        if (loss(total) <= limit) return total;
    return -1;
}

int LayerSchedule::total() const { return std::accumulate(ks.begin(), ks.end(), 0); }

SchedulePlanner::SchedulePlanner(const SensitivityMap& map, BudgetKind kind) : m_map(map), m_kind(kind), m_allocation(map.ks, excess_loss(map, kind)) {}

LayerSchedule SchedulePlanner::at(int total) const {
    LayerSchedule schedule;
    for (const int column : m_allocation.columns(total)) schedule.ks.push_back(m_map.ks[static_cast<size_t>(column)]);
    schedule.predicted = predict(schedule.ks);
    return schedule;
}

int SchedulePlanner::total_for(const Budget& budget) const {
    GS_CHECK((budget.kind == BudgetKind::kPerplexity) == (m_kind == BudgetKind::kPerplexity), "the planner minimises another loss");
    if (budget.kind != BudgetKind::kBytes) return m_allocation.cheapest(excess_limit(m_map, budget));
    const double most = (budget.limit * (1 + kByteRounding) - m_map.dense_bytes) / m_map.expert_bytes;
    return most < m_allocation.min_total() ? -1 : static_cast<int>(std::min<double>(most, m_allocation.max_total()));
}

Prediction SchedulePlanner::predict(std::span<const int> ks) const {
    double kl = m_map.unchanged.kl, nll = m_map.unchanged.nll, n_used = 0;
    for (int m = 0; m < m_map.n_layers(); ++m) {
        const SensitivityCell& cell = m_map.cell(m, m_map.column_of(ks[static_cast<size_t>(m)]));
        kl += cell.kl - m_map.unchanged.kl;
        nll += cell.nll - m_map.unchanged.nll;
        n_used += ks[static_cast<size_t>(m)];
    }
    return {.kl = kl, .perplexity = std::exp(nll), .bytes_per_token = m_map.dense_bytes + n_used * m_map.expert_bytes};
}

Policy policy_of(const SensitivityMap& map, const RouterSpec& spec, const LayerSchedule& schedule) {
    return with_layer_ks(map.base, spec, map.moe_layers, schedule.ks);
}

std::string override_kv_line(const ModelSpec& spec, int k) { return fmt::format("--override-kv {}.expert_used_count=int:{}", spec.architecture, k); }

}  // namespace gs
