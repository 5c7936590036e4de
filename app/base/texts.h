// The bundled sample texts, one per domain: assets/texts/NAME.txt.
#pragma once

#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

/// "code", "dialogue", …, in alphabetical order; empty when the folder is missing.
std::vector<std::string> bundled_text_names();
/// Errors: kUsage "unknown_domain" with the names there are.
gs::Result<std::string> bundled_text(const std::string& name);

}  // namespace app
