// What `sensitivity` and `schedule` share: options, measuring with progress on a terminal.
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
void add_tune_options(CLI::App& command, TuneOptions& options);
/// The map of the text that was asked for.
gs::Result<gs::SensitivityMap> measure_map(gs::Decoder& decoder, const TuneOptions& options);
/// "12 %" on the line of the terminal, with a word before it; clear_progress() takes it away. Nothing where stderr is no terminal.
void show_progress(const char* what, double fraction);
void clear_progress();

}  // namespace app
