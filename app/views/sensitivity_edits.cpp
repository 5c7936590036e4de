#include "app/views/sensitivity_edits.h"

namespace app {

void ScheduleEdits::paint(const Ks& found, size_t layer, int k) {
    if (!m_stroke) m_stroke = now() ? *now() : found;
    if (layer < m_stroke->size()) (*m_stroke)[layer] = k;
}

void ScheduleEdits::push(std::optional<Ks> step) {
    m_steps.resize(m_at + 1);
    m_steps.push_back(std::move(step));
    if (m_steps.size() > kMaxSteps) m_steps.erase(m_steps.begin());
    m_at = m_steps.size() - 1;
}

void ScheduleEdits::end_stroke() {
    if (!m_stroke) return;
    std::optional<Ks> stroke;
    stroke.swap(m_stroke);
    if (stroke != m_steps[m_at]) push(std::move(stroke));
}

void ScheduleEdits::reset() {
    m_stroke.reset();
    if (m_steps[m_at]) push(std::nullopt);
}

void ScheduleEdits::undo() {
    m_stroke.reset();
    if (can_undo()) --m_at;
}

void ScheduleEdits::redo() {
    m_stroke.reset();
    if (can_redo()) ++m_at;
}

}  // namespace app
