// gatescope specialize: are experts specialists by subject or by kind of word, against what chance gives?
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/study_output.h"
#include "engine/run/expert_export.h"

namespace app {

struct SpecializeOptions {
    StudyOptions study;
    bool json = false, csv = false;
};

static std::string information(const gs::Information& i) {
    return fmt::format("{:>6.1f} %{} {:.3f} ({:.3f}–{:.3f})", 100 * i.adjusted_share(), i.beyond_chance() ? "*" : " ", i.bits, i.null.band.low, i.null.band.high);
}

static void print_study(const gs::ExpertStudy& study) {
    fmt::print("{} counted tokens of {} texts, {} experts; policy {}\n", study.tokens.n(), study.texts.size(), study.n_experts(), study.policy.to_text());
    for (size_t d = 0; d < study.tokens.domains.size(); ++d) fmt::print("  {}: {}", study.tokens.domains[d], study.tokens.domain_tokens[d]);
    fmt::print("\n ");
    for (int c = 0; c < gs::kTokenClasses; ++c)
        if (study.tokens.class_tokens[static_cast<size_t>(c)] > 0) fmt::print(" {}: {} ", gs::name_of(static_cast<gs::TokenClass>(c)), study.tokens.class_tokens[static_cast<size_t>(c)]);
    fmt::print("\nWhat an expert chosen tells about a label: share of its entropy, chance subtracted; bits (95 % of {} shuffles); * beyond them\n", study.n_shuffles);
    fmt::print("{:>6}  {:<30} {:<30} {:>14} {:>14}  {}\n", "layer", "word class", "domain", "class|domain", "domain|class", "largest JSD of two domains");
    for (int m = 0; m < study.n_layers(); ++m) {
        const gs::LayerStudy& l = study.layers[static_cast<size_t>(m)];
        const auto n = study.tokens.domains.size();
        size_t widest = 0;
        for (size_t i = 0; i < l.domain_divergence.size(); ++i)
            if (l.domain_divergence[i] > l.domain_divergence[widest]) widest = i;
        fmt::print("{:>6}  {:<30} {:<30} {:>12.1f} % {:>12.1f} %  {:.3f} {}–{}\n", study.trace.info().moe_layers[static_cast<size_t>(m)], information(l.word_class),
                   information(l.domain), 100 * l.class_given_domain.adjusted_share(), 100 * l.domain_given_class.adjusted_share(), l.domain_divergence[widest],
                   study.tokens.domains[widest / n], study.tokens.domains[widest % n]);
    }
    fmt::print("\n{}\n", study.verdict.text());
}

static int specialize(const SpecializeOptions& o) {
    auto decoder = open_decoder(o.study.engine);
    if (!decoder) return fail(decoder.error());
    const auto study = run_study(**decoder, o.study);
    if (!study) return fail(study.error());
    if (o.json) {
        Json json = gs::specialization_json(**study);
        json["engine"] = (*decoder)->engine();
        print_json(json);
    } else if (o.csv) {
        fmt::print("{}", gs::specialization_csv(**study));
    } else {
        print_study(**study);
    }
    return 0;
}

void add_specialize_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<SpecializeOptions>();
    CLI::App* command = root.add_subcommand("specialize", "Do experts follow the domain or the kind of word? Mutual information with routing, against chance");
    command->footer("Example: gatescope specialize --text law=contract.txt --text poems=poems.txt\n"
                    "Word classes come from a small set of rules; the null of domains lets blocks of 32 tokens change places, that of word classes single tokens.");
    add_study_options(*command, options->study);
    auto* json = command->add_flag("--json", options->json, "one JSON object with every figure");
    command->add_flag("--csv", options->csv, "a line per layer, label and expert")->excludes(json);
    command->callback([options, &chosen] { chosen = [options] { return specialize(*options); }; });
}

}  // namespace app
