// A display of its own for a test: an X server that draws into memory, the real program in it, real pointer and key events, and what is on
// the screen as pixels.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "app/base/picture.h"
#include "imgui.h"
#include "tests/support/paths.h"

namespace app::test {

class VirtualDisplay {
public:
    /// Starts Xvfb; is_up() is false, with the reason in problem(), when it is not installed or does not start.
    VirtualDisplay(int width_px, int height_px);
    ~VirtualDisplay();
    VirtualDisplay(const VirtualDisplay&) = delete;

    bool is_up() const { return m_server > 0; }
    const std::string& problem() const { return m_problem; }
    /// ":7"
    const std::string& name() const { return m_name; }
    /// What a user would see now.
    Picture picture() const;

    /// Sends events as a device would, through the server's XTEST extension. arguments: those of xdotool. False when it fails.
    bool input(const std::vector<std::string>& arguments) const;
    bool move(ImVec2 to) const { return input({"mousemove", number(to.x), number(to.y)}); }
    bool click(ImVec2 at) const { return move(at) && input({"sleep", "0.2", "click", "1"}); }
    bool drag(ImVec2 from, ImVec2 to) const;
    /// With a pause between the events, because several within one frame are one event to the window.
    bool type(const std::string& text) const { return input({"type", "--delay", "60", text}); }
    /// A key, or one with a modifier: "Return", "ctrl+q". Pressed and let go over some frames, as a hand would.
    bool key(const std::string& chord) const;

private:
    static std::string number(float v) { return std::to_string(static_cast<int>(v)); }

    gs::test::TempDir m_folder;
    std::string m_name, m_problem;
    pid_t m_server = 0;
};

/// gatescope ARGUMENTS on a display, with an empty home folder; ended at the end of the scope.
class WindowedProgram {
public:
    WindowedProgram(const VirtualDisplay& display, const std::vector<std::string>& arguments);
    ~WindowedProgram();
    WindowedProgram(const WindowedProgram&) = delete;

    bool is_running();
    /// Waits for the program to end by itself. -1 when it has not after `seconds`.
    int wait(double seconds);
    std::string messages() const;                  ///< its stderr so far
    std::filesystem::path config() const { return m_folder / "config"; }

private:
    gs::test::TempDir m_folder;
    pid_t m_child = 0;
    int m_exit_code = -1;
};

}  // namespace app::test
