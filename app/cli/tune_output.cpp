#include "app/cli/tune_output.h"

#include <fmt/format.h>
#include <unistd.h>

#include "engine/model/model.h"
#include "engine/run/k_grid.h"

namespace app {

void add_tune_options(CLI::App& command, TuneOptions& options, const char* about_policy, const char* about_ks, int max_tokens) {
    options.text.max_tokens = max_tokens;
    add_engine_options(command, options.engine);
    add_text_options(command, options.text);
    command.add_option("--policy", options.policy, about_policy)->capture_default_str();
    command.add_option("--ks", options.ks, about_ks);
    command.add_option("--window", options.window, "tokens per window")->check(CLI::Range(2, 1 << 20))->capture_default_str();
}

void show_progress(const char* what, double fraction) {
    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[K{}: {:.0f} %", what, 100 * fraction);
}

void clear_progress() {
    if (isatty(STDERR_FILENO)) fmt::print(stderr, "\r\x1b[K");
}

gs::Result<gs::SensitivityMap> measure_map(gs::Decoder& decoder, const TuneOptions& o) {
    GS_TRY(const gs::Policy base, gs::Policy::parse(o.policy));
    const gs::RouterSpec& router = decoder.model().spec.router;
    std::vector<int> ks = gs::default_k_grid(router);
    if (!o.ks.empty()) {
        GS_TRY(ks, gs::parse_k_grid(o.ks, router.n_experts));
    }
    GS_TRY(const std::vector<int32_t> ids, text_ids(decoder.model(), o.text));
    const auto progress = [](const gs::SensitivityMap&, double fraction) { show_progress("map", fraction); };
    auto map = gs::measure_sensitivity(decoder, ids, base, ks, {.window = o.window}, progress, &interrupt_flag());
    clear_progress();
    if (map) map->text_name = name_of(o.text);
    return map;
}

}  // namespace app
