#include "app/base/texts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "app/base/paths.h"

namespace fs = std::filesystem;

namespace app {

std::vector<std::string> bundled_text_names() {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(asset_path("texts"), ignored))
        if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    return names;
}

gs::Result<std::string> bundled_text(const std::string& name) {
    const std::vector<std::string> names = bundled_text_names();
    const bool known = std::find(names.begin(), names.end(), name) != names.end();   // nothing but these: a name is no path
    std::ifstream file(known ? asset_path("texts/" + name + ".txt") : fs::path(), std::ios::binary);
    if (!known || !file)
        return gs::Error{gs::ErrorKind::kUsage, "unknown_domain", fmt::format("There is no sample text \"{}\"", name), fmt::format("there are {}", fmt::join(names, ", ")),
                         "Name one of them, or give --text FILE"};
    return std::string(std::istreambuf_iterator<char>(file), {});
}

gs::Result<std::string> read_text_file(const fs::path& path, uintmax_t max_bytes) {
    const auto error = [&](const char* code, std::string why, const char* remedy) {
        return gs::Error{gs::ErrorKind::kInput, code, fmt::format("Cannot read {}", path.string()), std::move(why), remedy};
    };
    std::error_code ignored;
    std::ifstream file(path, std::ios::binary);
    if (!file || fs::is_directory(path, ignored)) return error("cannot_open", "no such file, or no permission", "Check the path");
    if (fs::is_regular_file(path, ignored) && fs::file_size(path, ignored) > max_bytes)
        return error("too_large", fmt::format("at most {} bytes are read", max_bytes), "Choose a shorter text");
    std::string text(std::istreambuf_iterator<char>(file), {});
    if (text.empty()) return error("empty_text", "the file is empty", "Give a text of at least a few words");
    if (text.find('\0') != std::string::npos) return error("not_text", "it holds bytes that are no text", "Choose a plain text file");
    return text;
}

}  // namespace app
