#include "app/cli/window_command.h"

#include <charconv>
#include <filesystem>

#include "app/base/paths.h"
#include "app/cli/common.h"
#ifdef GATESCOPE_HAVE_WINDOW
#include "app/shell/app.h"
#endif

namespace app {

bool parse_size(const std::string& text, int& width, int& height) {
    const char* end = text.data() + text.size();
    const auto [after_width, bad_width] = std::from_chars(text.data(), end, width);
    if (bad_width != std::errc() || after_width == end || *after_width != 'x') return false;
    const auto [after_height, bad_height] = std::from_chars(after_width + 1, end, height);
    const auto in_range = [](int v) { return v >= 320 && v <= 16384; };
    return bad_height == std::errc() && after_height == end && in_range(width) && in_range(height);
}

void add_window_options(CLI::App& root, WindowArguments& a) {
    root.add_option("FILE", a.file, "model (.gguf) or recorded run (.safetensors) to open");
    root.add_option("--prompt", a.prompt, "prompt to start with");
    root.add_option("--policy", a.policy, "routing policy to start with")->capture_default_str();
    root.add_option("--state", a.state, "a state line to begin with, as the window copies it (Ctrl+S)");
    root.add_option("--theme", a.theme, "dark, light or contrast")->check(CLI::IsMember({"dark", "light", "contrast"}));
    root.add_option("--scale", a.scale, "size of everything, 0.75 to 3; default: the display's")->check(CLI::Range(0.75, 3.0));
    root.add_option("--size", a.size, "size of the window in pixels")->capture_default_str();
    root.add_option("--threads", a.n_threads, "engine threads; 0 = all cores")->check(CLI::Range(0, 1024));
    add_engine_choice(root, a.engine);
    add_reading_option(root, a.reading);
    root.add_flag("--exact", a.exact, "f32 activations instead of 16-bit ones");
    root.add_option("--config", a.config_dir, "folder of settings and layout");
    root.add_flag("--safe-mode", a.safe_mode, "ignore settings and layout");
    root.add_flag("--no-interop", a.no_interop, "routing always reaches the window through the host's memory, also where it could be drawn from the GPU engine's");
    root.add_flag("--validate", a.validate, "Vulkan validation layer on");
    root.add_option("--exit-after", a.exit_after_seconds, "close after so many seconds (tests)")->group("");
}

int open_window(const WindowArguments& a) {
    if (std::error_code ignored; !a.file.empty() && !std::filesystem::exists(a.file, ignored)) {
        const bool is_word = a.file.find_first_of("./") == std::string::npos;   // a mistyped command rather than a path
        return fail({is_word ? gs::ErrorKind::kUsage : gs::ErrorKind::kInput, "no_such_file", "Cannot open " + a.file,
                     is_word ? "it is neither a command nor a file" : "there is no such file",
                     "See gatescope --help for the commands; a file is a model (.gguf) or a recorded run (.safetensors)"});
    }
#ifdef GATESCOPE_HAVE_WINDOW
    WindowOptions options{.file = a.file,
                          .prompt = a.prompt,
                          .policy = a.policy,
                          .state = a.state,
                          .config_dir = a.config_dir.empty() ? default_config_dir() : std::filesystem::path(a.config_dir),
                          .theme = a.theme,
                          .scale = a.scale,
                          .safe_mode = a.safe_mode,
                          .interop = !a.no_interop,
                          .validate = a.validate,
                          .exit_after_seconds = a.exit_after_seconds,
                          .reading = parse_reading(a.reading),
                          .engine = engine_request(a.engine, {.n_threads = a.n_threads, .precision = a.exact ? gs::Precision::kExact : gs::Precision::kFast})};
    if (!parse_size(a.size, options.width, options.height))
        return fail({gs::ErrorKind::kUsage, "bad_size", "--size " + a.size, "not WIDTHxHEIGHT with 320 to 16384 pixels each", "For example --size 1600x900"});
    return run_window(options);
#else
    return fail({gs::ErrorKind::kUsage, "no_window", "This build has no window", "it was configured with GATESCOPE_APP=OFF", "See gatescope --help for the commands"});
#endif
}

}  // namespace app
