// gatescope verify DIR…: this program against golden folders.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/run/verify.h"

namespace app {

/// A file that could not be loaded gives no figures: none are shown.
static bool has_figures(const gs::VerifyCase& c) { return c.pass || c.rows > 0 || c.max_abs_logit_diff > 0; }

static void print_case(const gs::VerifyCase& c) {
    std::string figures = "compared exactly";
    if (!has_figures(c)) figures = "nothing compared";
    else if (c.tolerance > 0) figures = fmt::format("worst {:.2e} (tolerance {:.1e})", c.max_abs_logit_diff, c.tolerance);
    if (c.tolerance > 0 && c.rows > 0) figures += fmt::format("  experts {:6.2f} %", 100 * c.expert_agreement);
    fmt::print("{:<4} {:<40} {:<54} {}\n", c.pass ? "ok" : "FAIL", c.name, figures, c.detail);
}

static int verify(const EngineOptions& engine, const std::vector<std::string>& dirs, bool json) {
    Json cases = Json::array();
    int n_failed = 0;
    for (const std::string& dir : dirs) {
        auto results = gs::verify_golden(dir, [&] { return make_ops(engine); }, [&](int n_layers) { return make_stages(engine, n_layers); });
        if (!results) return fail(results.error());
        for (const gs::VerifyCase& c : *results) {
            n_failed += !c.pass;
            cases.push_back({{"case", c.name},
                             {"max_abs_logit_diff", has_figures(c) ? Json(c.max_abs_logit_diff) : Json()},
                             {"tolerance", c.tolerance},
                             {"expert_agreement", has_figures(c) ? Json(c.expert_agreement) : Json()},
                             {"rows", c.rows},
                             {"rows_differ", c.rows_differ},
                             {"greedy_equal", c.greedy_equal},
                             {"pass", c.pass},
                             {"detail", c.detail}});
            if (!json) print_case(c);
        }
    }
    if (json) print_json({{"cases", cases}, {"failed", n_failed}});
    if (!json) fmt::print("{} cases, {} failed\n", cases.size(), n_failed);
    return n_failed ? 1 : 0;
}

void add_verify_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        EngineOptions engine;
        std::vector<std::string> dirs;
        bool json = false;
    };
    auto options = std::make_shared<Options>();
    options->engine.precision = "exact";
    options->engine.kv = "f32";
    CLI::App* command = root.add_subcommand("verify", "Check this program against golden folders");
    command->footer("Example: gatescope verify tests/goldens/models/* tests/goldens/quant/blocks");
    add_engine_options(*command, options->engine);
    command->add_option("DIR", options->dirs, "golden folders: models/NAME, quant/models/NAME, quant/blocks, tokenizer, bad")->required();
    command->add_flag("--json", options->json, "one JSON object: cases");
    command->callback([options, &chosen] { chosen = [options] { return verify(options->engine, options->dirs, options->json); }; });
}

}  // namespace app
