#include "app/shell/frame_stats.h"

#include <algorithm>

namespace app {

void FrameStats::add(double ui_ms) {
    ++m_n_frames;
    if (m_ms.size() < kKept) m_ms.push_back(ui_ms);
    else m_ms[m_next] = ui_ms;
    m_next = (m_next + 1) % kKept;
}

void FrameStats::restart() {
    m_ms.clear();
    m_next = 0;
}

FrameStats::Summary FrameStats::summary() const {
    if (m_ms.empty()) return {m_n_frames, 0, 0, 0};
    std::vector<double> sorted = m_ms;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    const double median = sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    return {m_n_frames, sorted.front(), median, sorted.back()};
}

}  // namespace app
