// Changes by hand to a schedule, with undo: one stroke of the pointer, or one key, is one step. No drawing.
#pragma once

#include <optional>
#include <vector>

namespace app {

class ScheduleEdits {
public:
    using Ks = std::vector<int>;                           ///< [M] k of each MoE layer

    /// The schedule made by hand; nothing: the one that was found stands.
    const std::optional<Ks>& now() const { return m_stroke ? m_stroke : m_steps[m_at]; }
    /// k of one layer of what stands now, `found` before the first edit; until end_stroke() part of one step.
    void paint(const Ks& found, size_t layer, int k);
    /// Nothing happens where nothing was changed.
    void end_stroke();
    bool painting() const { return m_stroke.has_value(); }
    /// Back to what was found: a step like others, so that it can be undone.
    void reset();
    bool can_undo() const { return m_at > 0; }
    bool can_redo() const { return m_at + 1 < m_steps.size(); }
    void undo();
    void redo();
    /// Of another map: nothing of before has a meaning.
    void clear() { *this = ScheduleEdits{}; }

private:
    void push(std::optional<Ks> step);

    static constexpr size_t kMaxSteps = 500;
    std::vector<std::optional<Ks>> m_steps{std::nullopt};
    size_t m_at = 0;
    std::optional<Ks> m_stroke;
};

}  // namespace app
