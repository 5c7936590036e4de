#include "app/cli/text_source.h"

#include <fmt/format.h>

#include "app/base/texts.h"

namespace app {

void add_text_options(CLI::App& command, TextOptions& options) {
    auto* source = command.add_option_group("text");
    source->add_option("--text", options.file, "text file; - is standard input");
    source->add_option("-p,--prompt", options.text, "the text itself");
    source->add_option("--domain", options.domain, fmt::format("a bundled sample: {}", fmt::join(bundled_text_names(), ", ")));
    source->require_option(1);
    command.add_option("--max-tokens", options.max_tokens, "score at most so many tokens")->check(CLI::Range(2, 1 << 20))->capture_default_str();
}

gs::Result<std::string> text_of(const TextOptions& options) {
    if (!options.file.empty()) return read_text_file(options.file);
    if (options.domain.empty()) return options.text;
    return bundled_text(options.domain);
}

std::string name_of(const TextOptions& options) { return !options.domain.empty() ? options.domain : options.file; }

gs::Result<std::vector<int32_t>> text_ids(const gs::Model& model, const TextOptions& options, int* n_tokens) {
    GS_TRY(const std::string text, text_of(options));
    std::vector<int32_t> ids = tokenize_text(model, text);
    if (n_tokens) *n_tokens = static_cast<int>(ids.size());
    if (static_cast<int>(ids.size()) > options.max_tokens) ids.resize(static_cast<size_t>(options.max_tokens));
    return ids;
}

}  // namespace app
