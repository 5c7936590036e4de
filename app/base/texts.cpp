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

gs::Result<std::string> own_text(const fs::path& path) {
    constexpr uintmax_t kMostBytes = 4 << 20;
    const auto error = [&](const char* code, std::string why, const char* remedy) {
        return gs::Error{gs::ErrorKind::kInput, code, "Cannot use " + path.filename().string(), std::move(why), remedy};
    };
    std::error_code failure;
    const uintmax_t size = fs::file_size(path, failure);
    if (failure) return error("cannot_open", failure.message(), "Check that the file exists and can be read");
    if (size == 0) return error("empty_text", "the file is empty", "Choose a file with some text");
    if (size > kMostBytes) return error("too_large", fmt::format("it has {} bytes, a text may have {}", size, kMostBytes), "Choose a shorter text");
    std::ifstream file(path, std::ios::binary);
    std::string text(static_cast<size_t>(size), '\0');
    if (!file.read(text.data(), static_cast<std::streamsize>(size))) return error("cannot_open", "it could not be read", "Check its permissions");
    if (text.find('\0') != std::string::npos) return error("not_text", "it holds bytes that are no text", "Choose a plain text file");
    return text;
}

}  // namespace app
