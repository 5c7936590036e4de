#include "app/base/paths.h"

#include <cstdlib>
#include <system_error>
#include <vector>

namespace fs = std::filesystem;

namespace app {

static fs::path folder_from_environment(const char* variable) {
    const char* value = std::getenv(variable);
    return value && *value ? fs::path(value) : fs::path();
}

fs::path asset_path(const std::string& relative) {
    if (fs::path forced = folder_from_environment("GATESCOPE_ASSETS"); !forced.empty()) return forced / relative;
    std::error_code ignored;
    const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
    for (const char* up : {"../../../assets", "../share/gatescope", "assets"}) {
        const fs::path candidate = (program / up / relative).lexically_normal();
        if (fs::exists(candidate, ignored)) return candidate;
    }
    return fs::path(GATESCOPE_SOURCE_ASSETS) / relative;
}

fs::path bundled_model_path() { return asset_path("models/gatescope-smol-moe.gguf"); }
fs::path bundled_run_path() { return asset_path("runs/what-is-a-llama.safetensors"); }

fs::path default_config_dir() {
    if (fs::path config = folder_from_environment("XDG_CONFIG_HOME"); !config.empty()) return config / "gatescope";
    if (fs::path home = folder_from_environment("HOME"); !home.empty()) return home / ".config" / "gatescope";
    return {};
}

}  // namespace app
