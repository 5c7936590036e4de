// gatescope schedule: the cheapest k for every layer under a budget, run and shown beside the best single k.
#include <fmt/format.h>

#include <cmath>

#include "app/cli/cli.h"
#include "app/cli/tune_output.h"
#include "engine/run/tune_export.h"

namespace app {

struct ScheduleOptions {
    TuneOptions tune;
    TextOptions other;
    std::vector<std::string> budgets;
    int timed_tokens = 16;
    bool json = false;
};

/// A schedule and what it costs on a text that it was not made from.
struct Found {
    gs::ScheduleResult result;
    std::vector<gs::PolicyScore> elsewhere;      ///< schedule, then the uniform k if there is one; empty when no other text was given
};

static void print_figures(const char* name, double kl, double perplexity, double bytes, double top1, double tokens_per_s) {
    fmt::print("  {:<34}{:>10.5f}{:>12.4f}{:>12.3f}", name, kl, perplexity, bytes / 1e6);
    fmt::print("{}", top1 < 0 ? fmt::format("{:>9}", "") : fmt::format("{:>8.1f}%", 100 * top1));
    fmt::print("{}\n", tokens_per_s > 0 ? fmt::format("{:>10.1f}", tokens_per_s) : "");
}

static void print_measured(const char* name, const gs::PolicyScore& s) { print_figures(name, s.kl, s.perplexity, s.bytes_per_token, s.top1_agreement, s.tokens_per_s); }

static void print_schedule(const gs::SensitivityMap& map, const Found& found, const gs::ModelSpec& spec) {
    const gs::ScheduleResult& r = found.result;
    fmt::print("budget {}: k of layers {}-{} (native {})\n  {}\n", r.budget.to_text(), map.moe_layers.front(), map.moe_layers.back(), spec.router.n_used, fmt::join(r.schedule.ks, " "));
    fmt::print("  {:<34}{:>10}{:>12}{:>12}{:>9}{:>10}\n", "", "KL nats", "perplexity", "MB/token", "top-1", "tokens/s");
    print_figures("unchanged", map.unchanged.kl, std::exp(map.unchanged.nll), map.unchanged.bytes_per_token, map.unchanged.top1_agreement, 0);
    const gs::Prediction& p = r.schedule.predicted;
    print_figures("schedule, predicted by adding up", p.kl, p.perplexity, p.bytes_per_token, -1, 0);
    print_measured(r.within ? "schedule, run" : "schedule, run: OVER the budget", r.verified);
    if (r.uniform) print_measured(fmt::format("k = {} everywhere, run", r.uniform_k).c_str(), *r.uniform);
    if (!found.elsewhere.empty()) print_measured("schedule, other text", found.elsewhere[0]);
    if (found.elsewhere.size() > 1) print_measured(fmt::format("k = {} everywhere, other text", r.uniform_k).c_str(), found.elsewhere[1]);
    fmt::print("  {} ({} tokens, runs: {})\n", r.verdict_text(), r.n_tokens, r.trials.size());
    fmt::print("  here:      --policy {}\n", r.policy.to_text());
    if (r.uniform) fmt::print("  llama.cpp: {}   (one k for all layers)\n", gs::override_kv_line(spec, r.uniform_k));
}

static gs::Result<Found> find(gs::Decoder& decoder, const gs::SensitivityMap& map, const gs::Budget& budget, const ScheduleOptions& o) {
    const auto progress = [](int n_runs, double fraction) { show_progress(fmt::format("run {}", n_runs + 1).c_str(), fraction); };
    auto result = gs::find_schedule(decoder, map, budget, o.timed_tokens, progress, &interrupt_flag());
    clear_progress();
    if (!result) return result.error();
    Found found{std::move(*result), {}};
    if (o.other.file.empty() && o.other.domain.empty()) return found;
    GS_TRY(const std::vector<int32_t> ids, text_ids(decoder.model(), o.other));
    std::vector<gs::Policy> policies = {found.result.policy};
    if (found.result.uniform) policies.push_back(found.result.uniform->policy);
    GS_TRY(found.elsewhere, gs::score_policies(decoder, ids, gs::Policy{}, policies, {.window = o.tune.window}, {}, &interrupt_flag()));
    return found;
}

static int schedule(const ScheduleOptions& o) {
    std::vector<gs::Budget> budgets;
    for (const std::string& text : o.budgets) {
        auto budget = gs::Budget::parse(text);
        if (!budget) return fail(budget.error());
        budgets.push_back(*budget);
    }
    auto decoder = open_decoder(o.tune.engine);
    if (!decoder) return fail(decoder.error());
    const gs::ModelSpec& spec = (*decoder)->model().spec;
    auto map = measure_map(**decoder, o.tune);
    if (!map) return fail(map.error());
    Json rows = Json::array();
    for (const gs::Budget& budget : budgets) {
        auto found = find(**decoder, *map, budget, o);
        if (!found) return fail(found.error());
        if (!o.json) {
            print_schedule(*map, *found, spec);
            continue;
        }
        Json row = gs::schedule_json(*map, found->result, spec);
        if (!found->elsewhere.empty()) row["other_text"] = {{"schedule", score_json(found->elsewhere[0], spec)}, {"uniform", nullptr}};
        if (found->elsewhere.size() > 1) row["other_text"]["uniform"] = score_json(found->elsewhere[1], spec);
        rows.push_back(row);
    }
    if (o.json) print_json({{"schedules", rows}, {"map", gs::sensitivity_json(*map)}, {"engine", (*decoder)->engine()}});
    return 0;
}

void add_schedule_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<ScheduleOptions>();
    CLI::App* command = root.add_subcommand("schedule", "The cheapest k for every layer under a budget, run and shown beside one k for all");
    command->footer("Examples: gatescope schedule --domain prose --budget kl=0.05\n          gatescope schedule --text page.txt --budget bytes=60MB --other-domain code");
    add_tune_options(*command, options->tune);
    command->add_option("--budget", options->budgets, "at most: kl=0.05 (nats), perplexity=21.5 or bytes=60MB (weights read per token); may be given several times")->required();
    command->add_option("--timed", options->timed_tokens, "tokens decoded to measure tokens/s; 0 = not")->check(CLI::Range(0, 4096))->capture_default_str();
    auto* other = command->add_option("--other-text", options->other.file, "score the schedule on this text too, which it was not made from");
    command->add_option("--other-domain", options->other.domain, "the same with a bundled sample")->excludes(other);
    command->add_flag("--json", options->json, "one JSON object: schedules and the map");
    command->callback([options, &chosen] { chosen = [options] { return schedule(*options); }; });
}

}  // namespace app
