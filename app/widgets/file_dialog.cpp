#include "app/widgets/file_dialog.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <system_error>

#include "app/widgets/file_browser.h"

extern char** environ;

namespace fs = std::filesystem;

namespace app {
namespace {

/// First of the programs that is in PATH; empty if none is.
std::string find_program(std::initializer_list<const char*> names) {
    const char* path = std::getenv("PATH");
    for (const char* name : names) {
        std::string_view rest = path ? path : "";
        while (!rest.empty()) {
            const size_t end = std::min(rest.find(':'), rest.size());
            const std::string candidate = std::string(rest.substr(0, end)) + "/" + name;
            if (access(candidate.c_str(), X_OK) == 0) return candidate;
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
    }
    return {};
}

std::vector<std::string> dialog_arguments(const std::string& program, const FileRequest& request) {
    std::string patterns;
    for (const std::string& e : request.extensions) patterns += (patterns.empty() ? "*" : " *") + e;
    const bool save = request.mode == FileMode::kSave;
    std::error_code ignored;
    const std::string start = fs::is_directory(request.start, ignored) ? request.start.string() + "/" : request.start.string();
    if (program.ends_with("kdialog"))
        return {program, "--title", request.title, save ? "--getsavefilename" : "--getopenfilename", start, patterns};
    std::vector<std::string> arguments{program, "--file-selection", "--title=" + request.title, "--filename=" + start};
    if (!patterns.empty()) arguments.push_back("--file-filter=" + patterns);
    if (save) arguments.insert(arguments.end(), {"--save", "--confirm-overwrite"});
    return arguments;
}

}  // namespace

/// A desktop dialog in a process of its own; only ever polled (ux.md R36: they can hang).
struct FileDialog::Native {
    pid_t pid = -1;
    int out = -1;
    std::string text;

    ~Native() {
        if (out >= 0) close(out);
        if (pid > 0) {
            kill(pid, SIGTERM);
            waitpid(pid, nullptr, 0);
        }
    }

    bool start(const std::string& program, const FileRequest& request) {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return false;
        std::vector<std::string> arguments = dialog_arguments(program, request);
        std::vector<char*> argv;
        for (std::string& a : arguments) argv.push_back(a.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        const bool started = posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), environ) == 0;
        posix_spawn_file_actions_destroy(&actions);
        close(ends[1]);
        out = ends[0];
        fcntl(out, F_SETFL, O_NONBLOCK);
        if (!started) pid = -1;
        return started;
    }

    /// Exit status once it has ended; nullopt while it is open.
    std::optional<int> poll() {
        char buffer[4096];
        for (ssize_t n; (n = read(out, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
        int status = 0;
        if (waitpid(pid, &status, WNOHANG) == 0) return std::nullopt;
        for (ssize_t n; (n = read(out, buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
        pid = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
    }
};

struct FileDialog::Browser {
    FileRequest request;
    FileBrowser view;
    explicit Browser(const FileRequest& r) : request(r), view(r) {}
};

FileDialog::FileDialog() = default;
FileDialog::~FileDialog() = default;

void FileDialog::open(FileRequest request, bool native) {
    m_native.reset();
    m_browser = std::make_unique<Browser>(request);
    const std::string program = native ? find_program({"zenity", "kdialog"}) : std::string();
    if (program.empty()) return;
    m_native = std::make_unique<Native>();
    if (!m_native->start(program, request)) m_native.reset();
}

bool FileDialog::is_open() const { return m_browser != nullptr; }

std::optional<fs::path> FileDialog::draw() {
    if (m_native) {
        const std::optional<int> status = m_native->poll();
        if (!status) return std::nullopt;
        std::string text = std::move(m_native->text);
        m_native.reset();
        while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
        if (*status == 1 || (*status == 0 && text.empty())) m_browser.reset();  // the user cancelled
        if (*status == 0 && !text.empty()) {
            m_browser.reset();
            return fs::path(text);
        }
        return std::nullopt;  // it failed: the built-in one opens in the next frame
    }
    if (!m_browser) return std::nullopt;
    std::optional<fs::path> chosen;
    if (!m_browser->view.draw(chosen)) m_browser.reset();
    return chosen;
}

}  // namespace app
