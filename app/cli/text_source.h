// Where a text to be scored comes from: --text FILE, -p TEXT, or --domain NAME for a bundled sample.
#pragma once

#include <string>
#include <vector>

#include "app/cli/common.h"

namespace app {

struct TextOptions {
    std::string file, text, domain;
    int max_tokens = 2048;
};
/// Exactly one of the three must be given.
void add_text_options(CLI::App& command, TextOptions& options);
/// Errors: those of read_text_file(), kUsage "unknown_domain".
gs::Result<std::string> text_of(const TextOptions& options);
/// Its tokens, at most max_tokens of them. n_tokens: how many there are in all; may be null.
gs::Result<std::vector<int32_t>> text_ids(const gs::Model& model, const TextOptions& options, int* n_tokens = nullptr);
/// Of the sample or the file; empty for a text of the command line.
std::string name_of(const TextOptions& options);

}  // namespace app
