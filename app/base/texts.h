// Texts to measure on: the bundled samples, one per domain, assets/texts/NAME.txt; files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

/// "code", "dialogue", …, in alphabetical order; empty when the folder is missing.
std::vector<std::string> bundled_text_names();
/// Errors: kUsage "unknown_domain" with the names there are.
gs::Result<std::string> bundled_text(const std::string& name);
/// The whole file. Errors: kInput "cannot_open", "empty_text", "too_large", "not_text".
gs::Result<std::string> read_text_file(const std::filesystem::path& path, uintmax_t max_bytes = 64u << 20);

}  // namespace app
