// gatescope cost: parameters, operations, bytes and memory per token, of a model file and of dense models beside it, and the sheets with their prices.
#include <fmt/format.h>

#include <numeric>

#include "app/base/paths.h"
#include "app/base/sheets.h"
#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/run/cost.h"

namespace app {

struct CostOptions {
    std::string file, policy = "native";
    int n_ctx = 4096;
    double tokens_in = 1e6, tokens_out = 1e6, bits = 16, usd_per_hour = 0, tokens_per_s = 0;
    bool json = false;
};

struct CostColumn {
    std::string name;
    gs::TokenCost cost;
};

static std::vector<CostColumn> columns_of(const gs::CostModel& model, const CostOptions& o, double experts) {
    std::vector<CostColumn> columns = {{model.spec.is_moe() ? "this MoE" : "this model (dense)", gs::token_cost(model, o.n_ctx, experts)}};
    if (!model.spec.is_moe()) return columns;
    columns.push_back({"dense, same total", gs::dense_of_same_total(model, o.n_ctx)});
    columns.push_back({"dense, same active", gs::dense_of_same_active(model, o.n_ctx, experts)});
    return columns;
}

static Json json_of(const gs::TokenCost& c) {
    return {{"total_parameters", c.total_params}, {"active_parameters", c.active_params}, {"flops_weights", c.flops_weights}, {"flops_attention", c.flops_attention},
            {"flops", c.flops()}, {"bytes_weights", c.bytes_weights}, {"bytes_cache", c.bytes_cache}, {"bytes", c.bytes()}, {"memory_weights", c.memory_weights},
            {"memory_cache", c.memory_cache}, {"memory", c.memory()}};
}

template <class Value>
static void print_row(const char* name, const std::vector<CostColumn>& columns, Value value) {
    fmt::print("  {:<34}", name);
    for (const CostColumn& c : columns) fmt::print("{:>20.3f}", value(c.cost));
    fmt::print("\n");
}

static void print_model(const gs::CostModel& model, const std::vector<CostColumn>& columns, const CostOptions& o) {
    fmt::print("{}: one token at the end of {} tokens of context, policy {}; computed from the file\n  {:<34}", model.spec.name, o.n_ctx, o.policy, "");
    for (const CostColumn& c : columns) fmt::print("{:>20}", c.name);
    fmt::print("\n");
    print_row("parameters, M", columns, [](const gs::TokenCost& c) { return c.total_params / 1e6; });
    print_row("active per token, M", columns, [](const gs::TokenCost& c) { return c.active_params / 1e6; });
    print_row("operations per token, GFLOP", columns, [](const gs::TokenCost& c) { return c.flops() / 1e9; });
    print_row("  of them attention", columns, [](const gs::TokenCost& c) { return c.flops_attention / 1e9; });
    print_row("read per decoded token, MB", columns, [](const gs::TokenCost& c) { return c.bytes() / 1e6; });
    print_row("  of them keys and values", columns, [](const gs::TokenCost& c) { return c.bytes_cache / 1e6; });
    print_row("memory, MB", columns, [](const gs::TokenCost& c) { return c.memory() / 1e6; });
    if (const double usd = gs::usd_per_million(o.usd_per_hour, o.tokens_per_s); usd > 0)
        fmt::print("  at {} $ an hour and {} tokens/s: {:.2f} $ per million tokens\n", o.usd_per_hour, o.tokens_per_s, usd);
}

static std::string billions(const std::optional<SheetFigure>& f) { return f ? fmt::format("{:.0f}", f->value / 1e9) : "unknown"; }

static void print_sheets(const Sheets& sheets, const CostOptions& o) {
    fmt::print("\nSheets (published figures, nothing computed on a model; weights at {} bits, operations without attention; {:.0f} tokens in, {:.0f} out)\n", o.bits, o.tokens_in, o.tokens_out);
    fmt::print("  {:<20}{:<9}{:>9}{:>9}{:>10}{:>10}  {}\n", "", "", "total B", "active B", "GFLOP", "GB", "price");
    for (const ModelSheet& m : sheets.models) {
        const auto flops = m.flops_per_token(), memory = m.weight_bytes(o.bits);
        fmt::print("  {:<20}{:<9}{:>9}{:>9}{:>10}{:>10}", m.name, m.kind, billions(m.total_params), billions(m.active_params), flops ? fmt::format("{:.0f}", *flops / 1e9) : "unknown",
                   memory ? fmt::format("{:.0f}", *memory / 1e9) : "unknown");
        for (const SheetPrice& p : m.prices) {
            const SheetPrice::Range usd = p.usd(o.tokens_in, o.tokens_out);
            fmt::print("  {}: {}{}", p.where, usd.low == usd.high ? fmt::format("{:.2f} $", usd.low) : fmt::format("{:.2f} to {:.2f} $", usd.low, usd.high), p.edited ? " (your figure)" : "");
        }
        fmt::print("\n");
        if (!m.open_weights) fmt::print("  {:<20}no open weights: {}\n", "", m.note);
        const auto say = [&](const char* of, const std::string& differs) {
            if (!differs.empty()) fmt::print("  {:<20}{} differs: {}\n", "", of, differs);
        };
        if (m.total_params) say("total", m.total_params->differs);
        if (m.active_params) say("active", m.active_params->differs);
        if (m.experts) say("experts", m.experts->differs);
        for (const SheetPrice& p : m.prices) say(p.where.c_str(), p.differs);
    }
    if (!sheets.problem.empty()) fmt::print(stderr, "{}\n", sheets.problem);
}

static Json json_of(const std::optional<SheetFigure>& f) { return f ? Json{{"value", f->value}, {"source", f->source}, {"differs", f->differs}} : Json(nullptr); }
static Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

static Json sheets_json(const Sheets& sheets, const CostOptions& o) {
    Json rows = Json::array();
    for (const ModelSheet& m : sheets.models) {
        Json prices = Json::array();
        for (const SheetPrice& p : m.prices) {
            const SheetPrice::Range usd = p.usd(o.tokens_in, o.tokens_out);
            prices.push_back({{"where", p.where}, {"input", json_of(p.input)}, {"output", json_of(p.output)}, {"low", json_of(p.low)}, {"high", json_of(p.high)}, {"source", p.source}, {"differs", p.differs},
                              {"edited", p.edited}, {"usd_low", usd.low}, {"usd_high", usd.high}});
        }
        rows.push_back({{"id", m.id}, {"name", m.name}, {"kind", m.kind}, {"open_weights", m.open_weights}, {"total_parameters", json_of(m.total_params)},
                        {"active_parameters", json_of(m.active_params)}, {"experts", json_of(m.experts)}, {"flops_without_attention", json_of(m.flops_per_token())},
                        {"bits_per_weight", o.bits}, {"weight_bytes", json_of(m.weight_bytes(o.bits))}, {"bytes_per_token", json_of(m.bytes_per_token(o.bits))}, {"prices", prices}, {"note", m.note}});
    }
    return rows;
}

static int cost(const CostOptions& o) {
    const auto policy = gs::Policy::parse(o.policy);
    if (!policy) return fail(policy.error());
    const auto estimate = gs::estimate_model(o.file.empty() ? bundled_model_path().string() : o.file, o.n_ctx);
    if (!estimate) return fail(estimate.error());
    if (const auto fits = policy->check(estimate->spec.router, estimate->spec.n_layers); !fits) return fail(fits.error());
    const gs::CostModel model = gs::cost_model(*estimate, gs::KvType::kF16);
    const double experts = gs::mean_experts(model.spec, *policy);
    const std::vector<CostColumn> columns = columns_of(model, o, experts);
    const Sheets sheets = load_sheets(price_edits_path());
    if (!o.json) {
        print_model(model, columns, o);
        print_sheets(sheets, o);
        return 0;
    }
    Json json = {{"model", model.spec.name}, {"context", o.n_ctx}, {"policy", policy->to_text()}, {"provenance", "computed from the file's header"}, {"token", json_of(columns[0].cost)}};
    if (columns.size() > 1) json["dense_of_same_total"] = json_of(columns[1].cost), json["dense_of_same_active"] = json_of(columns[2].cost), json["experts_per_layer"] = experts;
    json["formula"] = "flops = 2 x active weights + sum over layers of 2 x heads x (dk + dv) x keys seen; bytes = weights read + keys and values of the context";
    if (const double usd = gs::usd_per_million(o.usd_per_hour, o.tokens_per_s); usd > 0) json["usd_per_million_tokens"] = usd;
    json["tokens_in"] = o.tokens_in;
    json["tokens_out"] = o.tokens_out;
    json["sheets"] = sheets_json(sheets, o);
    print_json(json);
    return 0;
}

void add_cost_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<CostOptions>();
    CLI::App* command = root.add_subcommand("cost", "Parameters, operations, bytes and memory per token beside dense models; prices per million tokens");
    command->footer("Example: gatescope cost mixtral.gguf -c 8192 --policy k=1 --in 500000 --out 100000");
    command->add_option("FILE,-m,--model", options->file, "GGUF file (default: the bundled model)");
    command->add_option("-c,--context", options->n_ctx, "tokens of context, of which the last one is counted")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    command->add_option("--policy", options->policy, "routing policy that is counted")->capture_default_str();
    command->add_option("--in", options->tokens_in, "tokens read, for prices")->check(CLI::Range(0.0, 1e15))->capture_default_str();
    command->add_option("--out", options->tokens_out, "tokens written, for prices")->check(CLI::Range(0.0, 1e15))->capture_default_str();
    command->add_option("--bits", options->bits, "bits per weight of the sheets")->check(CLI::Range(1.0, 32.0))->capture_default_str();
    command->add_option("--usd-per-hour", options->usd_per_hour, "of a machine that runs the model")->check(CLI::Range(0.0, 1e6));
    command->add_option("--tokens-per-s", options->tokens_per_s, "that it was measured to write")->check(CLI::Range(0.0, 1e9));
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return cost(*options); }; });
}

}  // namespace app
