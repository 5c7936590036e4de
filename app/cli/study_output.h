// What `experts`, `specialize` and `coactivation` share: which texts are studied, the study with progress on a terminal, tokens as text that can be seen.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/cli/common.h"
#include "engine/run/expert_study.h"

namespace app {

struct StudyOptions {
    EngineOptions engine;
    std::vector<std::string> own;            ///< NAME=FILE
    std::string domains = "all";             ///< bundled samples: all, none, or a list
    std::string policy = "native", save;
    int max_tokens = 512, n_shuffles = 200;
};
void add_study_options(CLI::App& command, StudyOptions& options);
/// Errors: kUsage "bad_text" for an item that is not NAME=FILE, "unknown_domain"; those of read_text_file().
gs::Result<gs::StudyRequest> study_request(const StudyOptions& options);
/// Opens the model and studies; writes the trace where --save-trace asks for it.
gs::Result<std::shared_ptr<const gs::ExpertStudy>> run_study(gs::Decoder& decoder, const StudyOptions& options);

/// A row of moe_layers for a model layer (blk.N). Errors: kUsage "no_such_layer" with the layers there are.
gs::Result<int> moe_row(const gs::TraceInfo& info, int layer);
/// Line breaks and tabs as marks, other control characters replaced: one line whatever the token.
std::string shown_token(std::string_view bytes);
/// "12.3 %"; "–" for NaN.
std::string shown_percent(double share);

}  // namespace app
