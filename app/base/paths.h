// Where the program's own files are: assets beside the source tree, settings and cache in the user's folders.
#pragma once

#include <filesystem>
#include <string>

namespace app {

/// A file of assets/: $GATESCOPE_ASSETS, else beside the program (build/PRESET/app → the clone), else the tree it was built from. The path is
/// returned even when the file is missing, so that the error names it.
std::filesystem::path asset_path(const std::string& relative);
std::filesystem::path bundled_model_path();
std::filesystem::path bundled_run_path();

/// $XDG_CONFIG_HOME/gatescope or ~/.config/gatescope; empty when there is no home.
std::filesystem::path default_config_dir();

}  // namespace app
