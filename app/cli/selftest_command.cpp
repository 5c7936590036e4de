// gatescope selftest: every operation and the real model, on every engine of this machine, against the reference; the goldens, where their folder is
// given; and the facts routing must obey.
// Needs no test framework, so that it runs where only the program is.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "engine/ops/ops.h"
#include "engine/run/check_ops.h"
#include "engine/run/generator.h"
#include "engine/run/verify.h"

namespace app {

struct Check {
    std::string name;
    bool pass;
    std::string detail;
};

/// Logits of the last of 12 tokens. Empty on failure.
static std::vector<float> last_logits(std::shared_ptr<const gs::Model> model, const std::vector<gs::StageEngine>& stages, const std::string& policy) {
    auto decoder = gs::Decoder::create(std::move(model), stages, {.n_ctx = 64});
    auto parsed = gs::Policy::parse(policy);
    if (!decoder || !parsed) return {};
    (*decoder)->set_policy(*parsed);
    std::vector<int32_t> ids;
    for (int i = 0; i < 12; i++) ids.push_back((37 * i + 5) % (*decoder)->model().spec.n_vocab);
    if (!(*decoder)->forward(ids, 0, gs::LogitRows::kLast)) return {};
    const auto logits = (*decoder)->logits(0);
    return {logits.begin(), logits.end()};
}

/// Root mean square difference over the reference's standard deviation: comparable between models of any logit scale.
static double relative_difference(const std::vector<float>& a, const std::vector<float>& reference) {
    if (a.size() != reference.size() || a.empty()) return INFINITY;
    double sum = 0, mean = 0, variance = 0;
    for (float r : reference) mean += r / static_cast<double>(reference.size());
    for (size_t i = 0; i < a.size(); i++) {
        sum += (a[i] - reference[i]) * static_cast<double>(a[i] - reference[i]);
        variance += (reference[i] - mean) * (reference[i] - mean);
    }
    return std::sqrt(sum / variance);
}

/// f32 rounds each of ~10^3 additions by 2^-24 and 30 layers amplify it; fast rounds activations to 16 bits (2^-16 of a block's largest).
static void check_against(const std::vector<float>& reference, const std::shared_ptr<const gs::Model>& model, std::shared_ptr<gs::Ops> ops,
                          const std::string& name, std::vector<Check>& checks) {
    const double limit = ops->precision() == gs::Precision::kExact ? 1e-4 : 1e-2;
    const double difference = relative_difference(last_logits(model, {{std::move(ops), 0, model->spec.n_layers}}, "native"), reference);
    checks.push_back({name + " against the reference", difference < limit, fmt::format("relative difference of logits {:.1e}, limit {:.0e}", difference, limit)});
}

/// One line for all operations, and one for each that is wrong.
static void check_operations(gs::Ops& ops, const std::string& name, std::vector<Check>& checks) {
    int n = 0, n_wrong = 0;
    double worst = 0;
    for (const gs::OpsCheck& c : gs::check_ops(ops)) {
        ++n;
        worst = std::max(worst, c.worst);
        if (c.pass) continue;
        ++n_wrong;
        checks.push_back({fmt::format("{}: {}", name, c.name), false, fmt::format("{:.3g} times what rounding may do", c.worst)});
    }
    const auto health = ops.check();
    checks.push_back({fmt::format("{}: {} operations", name, n), n_wrong == 0 && health,
                      health ? fmt::format("largest difference {:.0f} % of what rounding may do", 100 * worst) : health.error().message()});
}

static void check_instruction_sets(const std::vector<float>& reference, const std::shared_ptr<const gs::Model>& model, std::vector<Check>& checks) {
    for (const std::string& set : gs::cpu_instruction_sets()) {
        setenv("GATESCOPE_SIMD", set.c_str(), 1);
        for (gs::Precision precision : {gs::Precision::kExact, gs::Precision::kFast}) {
            const bool exact = precision == gs::Precision::kExact;
            const std::string name = fmt::format("{} {}", set, exact ? "exact" : "fast");
            check_operations(*gs::make_cpu_ops({.precision = precision}), name, checks);
            check_against(reference, model, gs::make_cpu_ops({.precision = precision}), name, checks);
        }
    }
    unsetenv("GATESCOPE_SIMD");
}

/// A machine without a device passes, and is told so.
static void check_cuda(const std::vector<float>& reference, const std::shared_ptr<const gs::Model>& model, std::vector<Check>& checks) {
    for (gs::Precision precision : {gs::Precision::kExact, gs::Precision::kFast}) {
        auto made = gs::make_cuda_ops({.precision = precision});
        if (!made) return checks.push_back({"cuda: not checked", true, made.error().why});
        const std::string name = fmt::format("{} {}", (*made)->name(), precision == gs::Precision::kExact ? "exact" : "fast");
        check_operations(**made, name, checks);
        check_against(reference, model, std::move(*made), name, checks);
    }
}

static void check_goldens(const std::string& dir, const EngineOptions& engine, std::vector<Check>& checks) {
    std::vector<std::filesystem::path> folders;
    std::error_code ignored;
    for (const char* part : {"models", "quant/models"})
        for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(dir) / part, ignored)) folders.push_back(entry.path());
    for (const char* part : {"quant/blocks", "tokenizer"}) folders.push_back(std::filesystem::path(dir) / part);
    std::sort(folders.begin(), folders.end());
    EngineOptions exact = engine;
    exact.precision = "exact";
    exact.kv = "f32";
    for (const std::filesystem::path& folder : folders) {
        const auto cases = gs::verify_golden(folder, [&] { return make_ops(exact); }, [&](int n_layers) { return make_stages(exact, n_layers); });
        if (!cases) {
            checks.push_back({"goldens " + folder.string(), false, cases.error().message()});
            continue;
        }
        Check check{fmt::format("goldens {}: {} cases", folder.lexically_relative(dir).string(), cases->size()), true, ""};
        for (const gs::VerifyCase& c : *cases)
            if (!c.pass && std::exchange(check.pass, false)) check.detail = c.name + ": " + c.detail;
        checks.push_back(check);
    }
}

static void check_routing_facts(const std::shared_ptr<const gs::Model>& model, const EngineOptions& engine, std::vector<Check>& checks) {
    const int n_experts = model->spec.router.n_experts;
    const auto logits = [&](const std::string& policy) { return last_logits(model, make_stages(engine, model->spec.n_layers), policy); };
    const std::vector<float> native = logits("native");
    checks.push_back({"native routing repeats bit for bit", !native.empty() && native == logits("native"), ""});
    checks.push_back({"top-k at the trained k is native", !native.empty() && native == logits(fmt::format("k={}", model->spec.router.n_used)), ""});
    const double soft = relative_difference(logits(fmt::format("k={},weights=one", n_experts)), logits("soft"));
    checks.push_back({"k = E with weights to one is the soft mixture", soft < 1e-4, fmt::format("relative difference {:.1e}", soft)});
    checks.push_back({"k = 1 is hard gating", relative_difference(logits("k=1"), logits("hard")) < 1e-6, ""});
    checks.push_back({"k = 1 changes the output", relative_difference(logits("k=1"), native) > 1e-3, ""});
}

static int selftest(const EngineOptions& engine, const std::string& goldens, bool json) {
    auto loaded = open_model(engine);
    if (!loaded) return fail(loaded.error());
    const std::shared_ptr<const gs::Model> model = *loaded;
    std::vector<Check> checks;
    const std::vector<float> reference = last_logits(model, {{gs::make_reference_ops(), 0, model->spec.n_layers}}, "native");
    check_instruction_sets(reference, model, checks);
    check_cuda(reference, model, checks);
    if (!goldens.empty()) check_goldens(goldens, engine, checks);
    if (model->spec.is_moe()) check_routing_facts(model, engine, checks);
    Json rows = Json::array();
    int n_failed = 0;
    for (const Check& check : checks) {
        n_failed += !check.pass;
        rows.push_back({{"check", check.name}, {"pass", check.pass}, {"detail", check.detail}});
        if (!json) fmt::print("{:<4} {}  {}\n", check.pass ? "ok" : "FAIL", check.name, check.detail);
    }
    if (json)
        print_json({{"checks", rows}, {"failed", n_failed}});
    else
        fmt::print("{} checks, {} failed\n", checks.size(), n_failed);
    return n_failed ? 1 : 0;
}

void add_selftest_command(CLI::App& root, CommandBody& chosen) {
    struct Options {
        EngineOptions engine;
        std::string goldens;
        bool json = false;
    };
    auto options = std::make_shared<Options>();
    options->engine.precision = "exact";
    CLI::App* command = root.add_subcommand("selftest", "Check every engine and instruction set of this machine against the reference engine");
    command->footer("Example: gatescope selftest --engine cuda --goldens tests/goldens");
    add_engine_options(*command, options->engine);
    command->add_option("--goldens", options->goldens, "folder of goldens (tests/goldens): the engine that --engine names must reproduce them")->check(CLI::ExistingDirectory);
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return selftest(options->engine, options->goldens, options->json); }; });
}

}  // namespace app
