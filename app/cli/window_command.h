// Arguments of the program without a subcommand: what the window opens with.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "app/cli/common.h"

namespace app {

struct WindowArguments {
    std::string file, prompt, policy = "native", state, config_dir, theme, size = "1600x900", reading = "llamacpp";
    EngineChoice engine;
    float scale = 0;
    int n_threads = 0;
    double exit_after_seconds = 0;
    bool exact = false, no_interop = false, safe_mode = false, validate = false;
};
void add_window_options(CLI::App& root, WindowArguments& arguments);
/// Exit code. Says so when this build or this machine has no window.
int open_window(const WindowArguments& arguments);

/// "1600x900" → width, height, each 320..16384; false otherwise.
bool parse_size(const std::string& text, int& width, int& height);

}  // namespace app
