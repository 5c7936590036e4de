// gatescope sensitivity: what a text loses when one layer alone uses another k.
#include <fmt/format.h>

#include <cmath>

#include "app/cli/cli.h"
#include "app/cli/tune_output.h"
#include "engine/run/tune_export.h"

namespace app {

struct SensitivityOptions {
    TuneOptions tune;
    std::string show = "kl";
    bool json = false, csv = false;
};

static double shown_value(const gs::SensitivityCell& cell, const std::string& show) {
    return show == "kl" ? cell.kl : show == "perplexity" ? std::exp(cell.nll) : 100 * cell.top1_agreement;
}

static void print_map(const gs::SensitivityMap& map, const std::string& show) {
    const int decimals = show == "kl" ? 5 : show == "perplexity" ? 3 : 1;
    fmt::print("{} against native routing when one layer's k changes; {} of {} tokens scored, base policy {}; * = its own k\n",
               show == "kl" ? "KL in nats" : show == "perplexity" ? "perplexity" : "top-1 agreement in %", map.unchanged.n_scored, map.ids.size(), map.base.to_text());
    fmt::print("{:>8}", "layer");
    for (const int k : map.ks) fmt::print("{:>11}", fmt::format("k={} ", k));
    fmt::print("\n");
    for (int m = 0; m < map.n_layers(); ++m) {
        fmt::print("{:>8}", map.moe_layers[static_cast<size_t>(m)]);
        for (int column = 0; column < map.n_ks(); ++column) {
            const bool own = map.ks[static_cast<size_t>(column)] == map.base_k[static_cast<size_t>(m)];
            fmt::print("{:>10.{}f}{}", shown_value(map.cell(m, column), show), decimals, own ? "*" : " ");
        }
        fmt::print("\n");
    }
    const auto whole = [&](const char* name, auto value, int places) {
        fmt::print("{:>8}", name);
        for (const gs::PolicyScore& s : map.uniform) fmt::print("{:>10.{}f} ", value(s), places);
        fmt::print("\n");
    };
    fmt::print("every layer at that k:\n");
    whole("KL", [](const gs::PolicyScore& s) { return s.kl; }, 5);
    whole("perpl.", [](const gs::PolicyScore& s) { return s.perplexity; }, 3);
    whole("MB/token", [](const gs::PolicyScore& s) { return s.bytes_per_token / 1e6; }, 2);
    fmt::print("one expert of one layer: {:.4f} MB per token\n", map.expert_bytes / 1e6);
}

static int sensitivity(const SensitivityOptions& o) {
    auto decoder = open_decoder(o.tune.engine);
    if (!decoder) return fail(decoder.error());
    auto map = measure_map(**decoder, o.tune);
    if (!map) return fail(map.error());
    if (o.json) {
        Json json = gs::sensitivity_json(*map);
        json["engine"] = (*decoder)->engine();
        print_json(json);
    } else if (o.csv) {
        fmt::print("{}", gs::sensitivity_csv(*map));
    } else {
        print_map(*map, o.show);
    }
    return 0;
}

void add_sensitivity_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<SensitivityOptions>();
    CLI::App* command = root.add_subcommand("sensitivity", "KL to native for every layer and k, one layer changed at a time");
    command->footer("Example: gatescope sensitivity --domain prose --ks 1-4,8");
    add_tune_options(*command, options->tune);
    command->add_option("--show", options->show, "what the table shows")->check(CLI::IsMember({"kl", "perplexity", "top1"}))->capture_default_str();
    auto* json = command->add_flag("--json", options->json, "one JSON object with every figure");
    command->add_flag("--csv", options->csv, "a line per layer and k")->excludes(json);
    command->callback([options, &chosen] { chosen = [options] { return sensitivity(*options); }; });
}

}  // namespace app
