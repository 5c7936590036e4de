#include "tests/cli/program.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace {

struct Folder {
    fs::path path = fs::temp_directory_path() / ("gatescope-cli-" + std::to_string(getpid()));
    Folder() { fs::create_directories(path); }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
};

const Folder& folder() {
    static const Folder f;
    return f;
}

std::string read_file(const fs::path& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

}  // namespace

std::string temporary_path(const std::string& name) { return folder().path / name; }

std::string temporary_file(const std::string& name, const std::string& content) {
    const std::string path = temporary_path(name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

ProgramResult run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment, uint64_t most_memory) {
    const std::string out = temporary_path("stdout"), err = temporary_path("stderr"), home = temporary_path("home");
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen(out.c_str(), "wb", stdout) || !freopen(err.c_str(), "wb", stderr) || !freopen("/dev/null", "rb", stdin)) _exit(126);
        unsetenv("DISPLAY");
        unsetenv("WAYLAND_DISPLAY");
        setenv("HOME", home.c_str(), 1);
        unsetenv("XDG_CONFIG_HOME");
        for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
        const rlimit limit{most_memory, most_memory};
        if (most_memory > 0 && setrlimit(RLIMIT_AS, &limit) != 0) _exit(125);
        std::vector<char*> argv{const_cast<char*>(GATESCOPE_PROGRAM)};
        for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        execv(GATESCOPE_PROGRAM, argv.data());
        _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(out), read_file(err)};
}
