// Internal to engine/run: what a user typed, as token ids that fit into the context.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/model/model.h"
#include "engine/run/run_types.h"

namespace gs {

struct PromptTokens {
    std::vector<int32_t> ids;
    std::string template_name;           ///< of the chat format, or "raw"
};

/// Errors: kUsage "empty_prompt", kInput "prompt_too_long" with both lengths.
Result<PromptTokens> tokenize_prompt(const Model& model, const RunRequest& request, int n_ctx);

}  // namespace gs
