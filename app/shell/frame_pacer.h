// When to draw: the window sleeps unless something happened or somebody asked for frames (ux.md R21). Pure logic; the clock comes in.
#pragma once

namespace app {

class FramePacer {
public:
    struct Next {
        bool draw = false;
        double wait_seconds = 0;                 ///< if not: how long to wait for events; < 0: until one comes
    };

    /// Frames closer together than this are not drawn: the software driver does not throttle at vsync.
    void set_shortest_frame(double seconds) { m_shortest_frame = seconds; }
    /// The user did something: some frames, because popups and docked panels settle over the next few (Dear ImGui #1206, #3220).
    void note_input() { m_frames_left = kSettleFrames; }
    /// A worker has something new: one frame for it and one for what depends on it.
    void note_wake() { m_frames_left = m_frames_left < kWakeFrames ? kWakeFrames : m_frames_left; }
    /// A frame was begun. awake_until: frames are wanted until then; caret: a text field blinks.
    void note_frame(double now, double awake_until, bool caret);
    Next next(double now) const;

    static constexpr int kSettleFrames = 4, kWakeFrames = 2;
    static constexpr double kCaretSeconds = 0.4;

private:
    int m_frames_left = kSettleFrames;
    double m_last_frame = -1e9, m_awake_until = 0, m_shortest_frame = 0;
    bool m_caret = false;
};

}  // namespace app
