// gatescope experts: what each expert is for; with --layer and --expert everything about one.
#include <algorithm>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/study_output.h"
#include "engine/run/expert_export.h"

namespace app {

struct ExpertsOptions {
    StudyOptions study;
    int layer = -1, expert = -1, n_tokens = 12;
    bool json = false, csv = false;
};

static std::string use_text(const gs::LabelUse& use) {
    return fmt::format("{} ×{:.1f}{} ({:.0f} %)", use.label, use.lift, use.beyond_chance() ? "*" : "", 100 * use.share);
}

/// "0.031*": the text of a figure, marked where it lies outside chance.
static std::string marked(const gs::ExpertProfile& p, double gs::ExpertImportance::*value, const std::string& text) {
    const auto f = std::find_if(p.figures.begin(), p.figures.end(), [&](const gs::RankedFigure& of) { return of.figure->value == value; });
    return text + (f->beyond_chance ? "*" : "");
}

static void print_layer(const gs::ExpertStudy& study, int m) {
    const gs::LayerStudy& layer = study.layers[static_cast<size_t>(m)];
    fmt::print("layer {}: {} tokens, uniform share {}; ×: lift, * outside the 95 % of chance: of a uniform router (share), of random experts used as often (g to cosine)\n",
               study.trace.info().moe_layers[static_cast<size_t>(m)], study.tokens.n(), shown_percent(layer.routes.mean_k() / study.n_experts()));
    fmt::print("{:>7} {:>7} {:>9} {:>8} {:>9} {:>9} {:>8}  {:<28} {:<28} {}\n", "expert", "tokens", "share", "g", "EAN", "REAP", "cosine", "domain", "word class", "tokens by lift");
    for (int e = 0; e < study.n_experts(); ++e) {
        const gs::ExpertProfile p = gs::expert_profile(study, m, e, {.n_tokens = 5, .n_contexts = 1});
        std::string words;
        for (const gs::ProfileToken& t : p.tokens)
            if (t.figures.beyond_chance()) words += fmt::format("{}\"{}\"", words.empty() ? "" : " ", shown_token(t.text));
        using I = gs::ExpertImportance;
        const auto shown = [&](double I::*value, int decimals) { return marked(p, value, fmt::format("{:.{}f}", p.importance.*value, decimals)); };
        fmt::print("{:>7} {:>7} {:>9} {:>8} {:>9} {:>9} {:>8}  {:<28} {:<28} {}\n", e, p.n, marked(p, &I::frequency, shown_percent(p.share)), shown(&I::mean_weight, 3),
                   shown(&I::ean_mean, 3), shown(&I::reap, 4), shown(&I::cosine, 3), p.n > 0 ? use_text(p.domains.front()) : "–", p.n > 0 ? use_text(p.classes.front()) : "–", words);
    }
}

static void print_uses(const char* title, const std::vector<gs::LabelUse>& uses) {
    fmt::print("{}\n", title);
    for (const gs::LabelUse& u : uses)
        fmt::print("  {:<14} {:>8} of {:>5} tokens  lift {:>5.2f}  chance {} to {}{}\n", u.label, shown_percent(u.share), u.n, u.lift, shown_percent(u.band.low), shown_percent(u.band.high),
                   u.beyond_chance() ? "  *" : "");
}

static void print_partners(const char* title, const std::vector<gs::Partner>& partners) {
    constexpr size_t kMost = 6;
    fmt::print("{}\n", title);
    for (size_t i = 0; i < std::min(kMost, partners.size()); ++i) {
        const gs::Partner& p = partners[i];
        fmt::print("  expert {:>3}  {:>8} of its tokens; loads alone {}, 95 % {} to {}{}\n", p.expert, shown_percent(p.share), shown_percent(p.expected), shown_percent(p.band.low),
                   shown_percent(p.band.high), p.beyond_chance() ? "  *" : "");
    }
}

static void print_profile(const gs::ExpertProfile& p, const gs::RouterWords& words) {
    fmt::print("layer {}, expert {}: {} of {} tokens ({}); uniform {}, 95 % {} to {}\n", p.layer, p.expert, p.n, p.n_tokens, shown_percent(p.share), shown_percent(p.uniform),
               shown_percent(p.uniform_band.low), shown_percent(p.uniform_band.high));
    fmt::print("importance over its {} of {} tokens; chance: a random expert used as often, its outputs drawn from all of the layer's; of the frequency, a uniform router\n", p.n, p.n_tokens);
    for (const gs::RankedFigure& f : p.figures)
        fmt::print("  {:<19} {:>10.4g}{} chance {:.4g}, 95 % {:.4g} to {:.4g}; rank {} of {}, layer {:.4g} to {:.4g}, mean {:.4g}, {} outside   {}\n", f.figure->name, f.value,
                   f.beyond_chance ? '*' : ' ', f.chance.mean, f.chance.band.low, f.chance.band.high, f.rank, p.n_experts, f.layer_low, f.layer_high, f.layer_mean, f.layer_beyond,
                   f.figure->meaning);
    fmt::print("  outputs at right angles would give a cosine of {:.3f}\n", p.importance.cosine_orthogonal);
    print_uses("by domain", p.domains);
    print_uses("by word class", p.classes);
    fmt::print("tokens by lift: {} ids occur {} times or more, {} above the band (about {:.0f} by chance)\n", p.ids_tested, gs::kMinOccurrences, p.ids_beyond, 0.025 * p.ids_tested);
    for (const gs::ProfileToken& t : p.tokens) {
        fmt::print("  {:<16} {:>3} of {:>3}  lift {:.2f} (chance {:.2f} to {:.2f}){}\n", '"' + shown_token(t.text) + '"', t.figures.chosen, t.figures.n, t.figures.lift, t.figures.band.low,
                   t.figures.band.high, t.figures.beyond_chance() ? " *" : "");
        for (const gs::TokenContext& c : t.contexts) fmt::print("      {}: {}[{}]{}\n", c.domain, shown_token(c.before), shown_token(c.token), shown_token(c.after));
    }
    print_partners("partners in the layer, all pairs", p.partners);
    if (!p.before.empty()) print_partners("from the MoE layer before", p.before);
    if (!p.after.empty()) print_partners("to the MoE layer after", p.after);
    fmt::print("nearest vocabulary of its router row (random directions reach {:.3f} in the mean, {:.3f} at most):\n ", words.random_mean, words.random_most);
    for (const gs::RouterWord& w : words.nearest) fmt::print(" \"{}\" {:.3f}", shown_token(w.text), w.cosine);
    fmt::print("\n");
}

static int show_expert(const gs::ExpertStudy& study, const gs::Model& model, int m, const ExpertsOptions& o) {
    const gs::ExpertProfile profile = gs::expert_profile(study, m, o.expert, {.n_tokens = o.n_tokens});
    const auto words = gs::router_words(model, m, o.expert, 16, &interrupt_flag());
    if (!words) return fail(words.error());
    if (o.json) {
        Json json = gs::profile_json(profile);
        json["router_direction"] = gs::router_words_json(*words);
        print_json(json);
    } else if (o.csv) {
        fmt::print("{}", gs::profile_csv(profile));
    } else {
        print_profile(profile, *words);
    }
    return 0;
}

static int experts(const ExpertsOptions& o) {
    auto decoder = open_decoder(o.study.engine);
    if (!decoder) return fail(decoder.error());
    const gs::Model& model = (*decoder)->model();
    if (o.expert >= model.spec.router.n_experts && model.spec.is_moe())
        return fail({gs::ErrorKind::kUsage, "out_of_range", fmt::format("There is no expert {}", o.expert), fmt::format("they are numbered 0 to {}", model.spec.router.n_experts - 1), ""});
    const auto done = run_study(**decoder, o.study);
    if (!done) return fail(done.error());
    const gs::ExpertStudy& study = **done;
    int row = -1;
    if (o.layer >= 0) {
        const auto found = moe_row(study.trace.info(), o.layer);
        if (!found) return fail(found.error());
        row = *found;
    }
    if (o.expert >= 0) return show_expert(study, model, row, o);
    if (o.json) {
        Json all = Json::array();
        for (int m = 0; m < study.n_layers(); ++m)
            for (int e = 0; e < study.n_experts() && (row < 0 || row == m); ++e) all.push_back(gs::profile_json(gs::expert_profile(study, m, e, {.n_tokens = o.n_tokens, .n_contexts = 1})));
        print_json({{"tokens", study.tokens.n()}, {"model", study.model_hash}, {"policy", study.policy.to_text()}, {"experts", all}});
    } else if (o.csv) {
        fmt::print("{}", gs::experts_csv(study));
    } else {
        for (int m = 0; m < study.n_layers(); ++m)
            if (row < 0 || row == m) print_layer(study, m);
    }
    return 0;
}

void add_experts_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<ExpertsOptions>();
    CLI::App* command = root.add_subcommand("experts", "What each expert is for: domains, word classes, tokens, partners, output norms, all beside chance");
    command->footer("Examples: gatescope experts --layer 12\n          gatescope experts --layer 12 --expert 5 --text law=contract.txt");
    add_study_options(*command, options->study);
    auto* layer = command->add_option("--layer", options->layer, "this layer only (blk.N)")->check(CLI::NonNegativeNumber);
    command->add_option("--expert", options->expert, "everything about this expert of --layer")->check(CLI::NonNegativeNumber)->needs(layer);
    command->add_option("--top", options->n_tokens, "tokens listed by lift")->check(CLI::Range(1, 1000))->capture_default_str();
    auto* json = command->add_flag("--json", options->json, "one JSON object with every figure");
    command->add_flag("--csv", options->csv, "a line per layer and expert, or with --expert a line per figure")->excludes(json);
    command->callback([options, &chosen] { chosen = [options] { return experts(*options); }; });
}

}  // namespace app
