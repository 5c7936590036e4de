#include "tests/app/virtual_display.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace app::test {
namespace {

void become(const std::vector<std::string>& command) {
    std::vector<char*> argv;
    for (const std::string& part : command) argv.push_back(const_cast<char*>(part.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    _exit(127);
}

void end(pid_t child) {
    if (child <= 0) return;
    kill(child, SIGTERM);
    for (int i = 0; i < 100; ++i) {
        if (waitpid(child, nullptr, WNOHANG) != 0) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

/// The number that Xvfb writes once it takes connections; empty after ten seconds or when it has ended.
std::string read_line(int fd) {
    std::string line;
    char c = 0;
    pollfd waiting{fd, POLLIN, 0};
    while (poll(&waiting, 1, 10'000) > 0 && read(fd, &c, 1) == 1 && c != '\n') line += c;
    return c == '\n' ? line : "";
}

}  // namespace

VirtualDisplay::VirtualDisplay(int width_px, int height_px) {
    int ready[2];
    if (pipe(ready) != 0) {
        m_problem = "no pipe";
        return;
    }
    const std::string screen = std::to_string(width_px) + "x" + std::to_string(height_px) + "x24";
    m_server = fork();
    if (m_server == 0) {
        close(ready[0]);
        if (!freopen("/dev/null", "wb", stderr)) _exit(126);
        // The screen is a file in memory that anyone can map: no other program is needed to look at it. Without -noreset the pointer
        // goes back to the middle whenever the last client leaves.
        become({"Xvfb", "-displayfd", std::to_string(ready[1]), "-screen", "0", screen, "-fbdir", m_folder.path().string(), "-nolisten",
                "tcp", "-noreset"});
    }
    close(ready[1]);
    const std::string display = read_line(ready[0]);
    close(ready[0]);
    m_name = ":" + display;
    if (!display.empty()) return;
    end(m_server);
    m_server = 0;
    m_problem = "Xvfb is not installed or did not start";
}

VirtualDisplay::~VirtualDisplay() { end(m_server); }

/// The screen file is an X window dump: big-endian words of header, a colour map, then rows of 32-bit pixels.
Picture VirtualDisplay::picture() const {
    const std::string dump = gs::test::read_bytes(m_folder / "Xvfb_screen0");
    const auto word = [&](size_t index) {
        uint32_t value = 0;
        for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(dump.at(4 * index + i));
        return value;
    };
    constexpr size_t kColorBytes = 12;
    const uint32_t header_bytes = word(0), width = word(4), height = word(5), bits = word(11), row_bytes = word(12), n_colors = word(19);
    Picture picture{static_cast<int>(width), static_cast<int>(height), {}};
    if (bits != 32) return {};
    const size_t first = header_bytes + n_colors * kColorBytes;
    for (size_t y = 0; y < height; ++y)
        for (size_t x = 0; x < width; ++x) {
            const auto* bgrx = reinterpret_cast<const uint8_t*>(dump.data() + first + y * row_bytes + 4 * x);
            picture.rgba.insert(picture.rgba.end(), {bgrx[2], bgrx[1], bgrx[0], 255});
        }
    return picture;
}

bool VirtualDisplay::input(const std::vector<std::string>& arguments) const {
    const pid_t child = fork();
    if (child == 0) {
        setenv("DISPLAY", m_name.c_str(), 1);
        std::vector<std::string> command{"xdotool"};
        command.insert(command.end(), arguments.begin(), arguments.end());
        become(command);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool VirtualDisplay::key(const std::string& chord) const {
    const size_t plus = chord.rfind('+');
    if (plus == std::string::npos) return input({"keydown", chord, "sleep", "0.2", "keyup", chord, "sleep", "0.1"});
    const std::string modifier = chord.substr(0, plus), key = chord.substr(plus + 1);
    return input({"keydown", modifier, "sleep", "0.2", "keydown", key, "sleep", "0.2", "keyup", key, "sleep", "0.2", "keyup", modifier, "sleep", "0.1"});
}

bool VirtualDisplay::drag(ImVec2 from, ImVec2 to) const {
    const auto at = [](ImVec2 p) { return std::vector<std::string>{number(p.x), number(p.y)}; };
    const auto a = at(from), middle = at({(from.x + to.x) / 2, to.y}), b = at(to);
    return input({"mousemove", a[0], a[1], "sleep", "0.2", "mousedown", "1", "sleep", "0.2", "mousemove", middle[0], middle[1], "sleep", "0.2",
                  "mousemove", b[0], b[1], "sleep", "0.2", "mouseup", "1"});
}

WindowedProgram::WindowedProgram(const VirtualDisplay& display, const std::vector<std::string>& arguments) {
    const std::string err = m_folder / "stderr", home = m_folder / "home";
    m_child = fork();
    if (m_child != 0) return;
    if (!freopen(err.c_str(), "wb", stderr)) _exit(126);
    setenv("DISPLAY", display.name().c_str(), 1);
    unsetenv("WAYLAND_DISPLAY");
    setenv("HOME", home.c_str(), 1);
    std::vector<std::string> command{GATESCOPE_PROGRAM, "--config", config().string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    become(command);
}

WindowedProgram::~WindowedProgram() {
    if (m_exit_code < 0) end(m_child);
}

bool WindowedProgram::is_running() { return m_exit_code < 0 && wait(0) < 0; }

int WindowedProgram::wait(double seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    do {
        int status = 0;
        if (m_exit_code >= 0 || waitpid(m_child, &status, WNOHANG) == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(m_exit_code >= 0 ? 0 : 20));
            continue;
        }
        m_exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    } while (m_exit_code < 0 && std::chrono::steady_clock::now() < until);
    return m_exit_code;
}

std::string WindowedProgram::messages() const { return gs::test::read_bytes(m_folder / "stderr"); }

}  // namespace app::test
