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

}  // namespace app
