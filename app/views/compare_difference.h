// What changed from A to B at one layer, as a matrix: paired tokens across, experts down. Values only, no drawing.
#pragma once

#include <memory>
#include <vector>

#include "app/views/route_data.h"
#include "engine/routing/run_diff.h"

namespace app {

/// What is subtracted; kChosen: 1 for a chosen expert, 0 for another.
enum class DifferenceOf : uint8_t { kAppliedWeight, kPreference, kChosen };
const char* name_of(DifferenceOf what);
/// False where a run lacks what is needed.
bool can_subtract(DifferenceOf what, const gs::TraceSnapshot& a, const gs::TraceSnapshot& b);

class DifferencePicture {
public:
    /// Cheap when nothing changed. diff: of a and b, comparable.
    void update(std::shared_ptr<const gs::RunDiff> diff, const gs::TraceSnapshot& a, const gs::TraceSnapshot& b, int moe_layer, DifferenceOf what);

    int n_pairs() const { return m_diff ? static_cast<int>(m_diff->pairs.size()) : 0; }
    int n_experts() const { return m_n_experts; }
    /// B − A; an expert that is not chosen weighs 0.
    std::span<const float> column(int pair) const { return std::span(m_values).subspan(static_cast<size_t>(pair) * static_cast<size_t>(m_n_experts), static_cast<size_t>(m_n_experts)); }
    float value(int pair, int expert) const { return column(pair)[static_cast<size_t>(expert)]; }
    /// What was subtracted.
    float of_a(int pair, int expert) { return of(m_a, m_diff->pairs[static_cast<size_t>(pair)].a, expert); }
    float of_b(int pair, int expert) { return of(m_b, m_diff->pairs[static_cast<size_t>(pair)].b, expert); }
    /// The largest change in either direction; over 0. The colours go from its negative to it.
    float range() const { return m_range; }
    uint64_t revision() const { return m_revision; }
    int moe_layer() const { return m_layer; }
    DifferenceOf what() const { return m_what; }
    const gs::RunDiff& diff() const { return *m_diff; }

private:
    void fill(RouteReader& reader, int token, std::span<float> out);
    float of(RouteReader& reader, int token, int expert);

    std::shared_ptr<const gs::RunDiff> m_diff;
    RouteReader m_a, m_b;
    int m_layer = -1, m_n_experts = 0;
    DifferenceOf m_what = DifferenceOf::kAppliedWeight;
    std::vector<float> m_values, m_scratch;
    float m_range = 1;
    uint64_t m_revision = 0;
};

/// Index of the pair with this token of B, or -1.
int pair_of_b(const gs::RunDiff& diff, int token);

}  // namespace app
