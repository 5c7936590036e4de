#include "app/shell/panel_picture.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "engine/io/trace_file.h"

extern char** environ;

namespace fs = std::filesystem;

namespace app {
namespace {

/// Removed with everything in it.
struct Folder {
    fs::path path;
    Folder() {
        std::string name = (fs::temp_directory_path() / "gatescope-XXXXXX").string();
        if (mkdtemp(name.data())) path = name;
    }
    ~Folder() {
        std::error_code ignored;
        if (!path.empty()) fs::remove_all(path, ignored);
    }
};

gs::Error no_picture(std::string why) { return {gs::ErrorKind::kRun, "no_picture", "The picture was not made", std::move(why), "gatescope screenshot says more on a terminal"}; }

gs::Result<void> run_self(std::vector<std::string> arguments) {
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    pid_t child = 0;
    if (const int failed = posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, argv.data(), environ)) return no_picture(std::strerror(failed));
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return no_picture(std::strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return no_picture(fmt::format("drawing ended with status {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1));
    return {};
}

}  // namespace

std::vector<std::string> picture_arguments(const PanelPicture& picture, const fs::path& trace, const fs::path& pinned, const fs::path& to) {
    std::vector<std::string> out = {"gatescope", "screenshot", "--out", to.string(), "--view", picture.view, "--trace", trace.string(), "--theme", picture.theme == "light" ? "light" : "dark",
                                    "--size", fmt::format("{}x{}", picture.width_px, picture.height_px), "--scale", fmt::format("{:.2f}", std::clamp(picture.scale, 0.75f, 3.0f))};
    if (!pinned.empty()) out.insert(out.end(), {"--pin", pinned.string()});
    if (picture.pick.token >= 0) out.insert(out.end(), {"--token", std::to_string(picture.pick.token)});
    if (picture.pick.moe_layer >= 0) out.insert(out.end(), {"--layer", std::to_string(picture.pick.moe_layer)});
    if (picture.pick.expert >= 0) out.insert(out.end(), {"--expert", std::to_string(picture.pick.expert)});
    return out;
}

gs::Result<void> save_panel_picture(const PanelPicture& picture, const gs::TraceSnapshot& trace, const fs::path& to) {
    const Folder folder;
    if (folder.path.empty()) return no_picture("there is no folder for temporary files");
    const fs::path run = folder.path / "run.safetensors", pinned = picture.pinned ? folder.path / "pinned.safetensors" : fs::path();
    GS_TRY_VOID(gs::save_trace(trace, run));
    if (picture.pinned) GS_TRY_VOID(gs::save_trace(picture.pinned->trace, pinned));
    return run_self(picture_arguments(picture, run, pinned, fs::absolute(to)));
}

}  // namespace app
