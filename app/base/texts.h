// Texts: the bundled samples, one per domain, assets/texts/NAME.txt; files of the user's. The one reader of both the window and the command line.
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
/// What may be read: a text to measure or to study; a prompt that a person edits in the window.
inline constexpr uintmax_t kMaxTextBytes = 64u << 20, kMaxPromptBytes = 1u << 20;
/// The whole file, UTF-8; "-" is standard input. Errors: kInput "cannot_open", "empty_text", "too_large", "not_text".
gs::Result<std::string> read_text_file(const std::filesystem::path& path, uintmax_t max_bytes = kMaxTextBytes);

}  // namespace app
