#include "app/shell/frame_pacer.h"

#include <algorithm>

namespace app {

void FramePacer::note_frame(double now, double awake_until, bool caret) {
    m_last_frame = now;
    m_awake_until = awake_until;
    m_caret = caret;
    m_frames_left = std::max(0, m_frames_left - 1);
}

FramePacer::Next FramePacer::next(double now) const {
    if (m_frames_left > 0 || now < m_awake_until) {
        const double rest = m_last_frame + m_shortest_frame - now;
        return rest > 0 ? Next{false, rest} : Next{true, 0};
    }
    if (!m_caret) return {false, -1};
    const double until_blink = m_last_frame + kCaretSeconds - now;
    return until_blink > 0 ? Next{false, until_blink} : Next{true, 0};
}

}  // namespace app
