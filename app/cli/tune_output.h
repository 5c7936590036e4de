// What `sweep`, `sensitivity` and `schedule` share: options, measuring with progress on a terminal.
#pragma once

#include <string>

#include "app/cli/text_source.h"
#include "engine/run/sensitivity.h"

namespace app {

struct TuneOptions {
    EngineOptions engine;
    TextOptions text;
    std::string policy = "native", ks;
    int window = 512;
};
void add_tune_options(CLI::App& command, TuneOptions& options, const char* about_policy = "base policy; k of one layer at a time is changed",
                      const char* about_ks = "values of k: all, or a list such as 1,2,4-6 (default: all of 8 experts, else up to the native k, and 1.5, 2 and 4 times it)",
                      int max_tokens = 512);
/// The map of the text that was asked for.
gs::Result<gs::SensitivityMap> measure_map(gs::Decoder& decoder, const TuneOptions& options);
/// "12 %" on the line of the terminal, with a word before it; clear_progress() takes it away. Nothing where stderr is no terminal.
void show_progress(const char* what, double fraction);
void clear_progress();

}  // namespace app
