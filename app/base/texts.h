// The bundled sample texts, one per domain: assets/texts/NAME.txt.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

/// "code", "dialogue", …, in alphabetical order; empty when the folder is missing.
std::vector<std::string> bundled_text_names();
/// Errors: kUsage "unknown_domain" with the names there are.
gs::Result<std::string> bundled_text(const std::string& name);
/// A text file of the user's own, up to 4 MB. Errors: kInput "cannot_open", "empty_text", "too_large", "not_text".
gs::Result<std::string> own_text(const std::filesystem::path& path);

}  // namespace app
