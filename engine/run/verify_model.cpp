// A golden model: logits, routing and intermediate values of its prompts, whole, in pieces and continued one token at a time.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "engine/decode/decoder.h"
#include "engine/decode/sampler.h"
#include "engine/io/safetensors.h"
#include "engine/model/model.h"
#include "engine/run/verify_impl.h"
#include "engine/run/verify_record.h"

namespace gs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Tolerances {
    double logits = 0, router_logits = 0, weights = 0, margin = 0;
};

class ModelVerifier {
public:
    /// policy: of the golden's arrays; "both", or a reading.
    ModelVerifier(const json& golden, const SafetensorsFile& arrays, std::shared_ptr<const Model> model, StageFactory make_stages, std::string policy)
        : m_golden(golden), m_arrays(arrays), m_model(std::move(model)), m_make_stages(std::move(make_stages)),
          m_name(m_golden.at("name").get<std::string>() + (policy == "reference" ? " (reference)" : "")), m_policy(std::move(policy)) {}
    std::vector<VerifyCase> run();

private:
    std::span<const float> bias_of(size_t moe_layer) const {
        return m_model->weights.layers[static_cast<size_t>(m_model->spec.moe_layers[moe_layer])].selection_bias;
    }
    Tolerances tolerances(const json& prompt) const;
    std::vector<float> floats(const std::string& name) const;
    std::vector<int32_t> ints(const std::string& name) const;
    VerifyCase prefill(const std::string& letter, const std::vector<int>& chunks, const std::string& label, bool with_taps);
    VerifyCase greedy(const std::string& letter);
    VerifyCase with_k(const json& over);
    VerifyCase texts() const;

    std::vector<VerifyCase> run_prompt(const std::string& letter, const json& prompt);
    Result<void> feed(std::span<const int32_t> ids, int position, LogitRows rows, RunRecord& record);
    void check_values(const char* what, std::span<const float> got, const std::vector<float>& expected, double tolerance, VerifyCase& c) const;
    void check_routing(const RunRecord& record, const std::vector<int32_t>& experts, const std::vector<float>& weights, const Tolerances& t,
                       int first_token, VerifyCase& c) const;
    void check_taps(const RunRecord& record, const std::string& prefix, const json& prompt, const Tolerances& t, VerifyCase& c) const;
    void finish(VerifyCase& c, const std::string& what) const {
        c.expert_agreement = c.rows > 0 ? 1.0 - static_cast<double>(c.rows_differ) / c.rows : 1.0;
        if (c.rows_differ > 0) note(c, fmt::format("{} of {} rows have other experts", c.rows_differ, c.rows));
        if (c.detail.empty()) c.detail = what;
    }

    const json& m_golden;
    const SafetensorsFile& m_arrays;
    std::shared_ptr<const Model> m_model;
    StageFactory m_make_stages;
    std::unique_ptr<Decoder> m_decoder;
    int m_start = 0;                         ///< position of the prompt's first token
    std::string m_name, m_policy;
};

Tolerances ModelVerifier::tolerances(const json& prompt) const {
    // quant/models have none: the family of qwen2moe at four times its width, so twice its rounding (random errors add up as a root).
    Tolerances t{4e-5, 2e-5, 4e-6, 1e-4};
    if (prompt.contains("tolerance")) {
        const json& given = prompt["tolerance"];
        t = {given.at("logits").get<double>(), given.at("router_logits").get<double>(), given.at("weights").get<double>(), given.at("margin").get<double>()};
    }
    const std::string stored = m_golden.at("stored").get<std::string>();
    const bool quantized = stored != "F32" && stored != "F16" && stored != "BF16";
    if (m_decoder->precision() != Precision::kFast || !quantized) return t;
    return {t.logits * kFastTolerance, t.router_logits * kFastTolerance, t.weights * kFastTolerance, t.margin * kFastTolerance};
}

std::vector<float> ModelVerifier::floats(const std::string& name) const {
    const SafeTensor* tensor = m_arrays.find(name);
    if (!tensor) return {};
    Result<std::vector<float>> values = tensor->values<float>();
    return values ? std::move(*values) : std::vector<float>{};
}
std::vector<int32_t> ModelVerifier::ints(const std::string& name) const {
    const SafeTensor* tensor = m_arrays.find(name);
    if (!tensor) return {};
    Result<std::vector<int32_t>> values = tensor->values<int32_t>();
    return values ? std::move(*values) : std::vector<int32_t>{};
}

Result<void> ModelVerifier::feed(std::span<const int32_t> ids, int position, LogitRows rows, RunRecord& record) {
    record.begin(position);
    m_decoder->set_sink(&record);
    m_decoder->set_logit_function([&](int, std::span<const float> logits) { record.logits.insert(record.logits.end(), logits.begin(), logits.end()); });
    const Result<void> ran = m_decoder->forward(ids, position, rows);
    m_decoder->set_sink(nullptr);
    m_decoder->set_logit_function(nullptr);
    return ran;
}

void ModelVerifier::check_values(const char* what, std::span<const float> got, const std::vector<float>& expected, double tolerance,
                                 VerifyCase& c) const {
    if (got.size() != expected.size()) return note(c, fmt::format("{} values of {}, expected {}", got.size(), what, expected.size()));
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) worst = std::max(worst, difference(static_cast<double>(got[i]), static_cast<double>(expected[i])));
    if (std::string_view(what) == "logits") c.max_abs_logit_diff = std::max(c.max_abs_logit_diff, worst);
    if (worst > tolerance) note(c, fmt::format("{} differ by {:.3g}; allowed are {:.3g}", what, worst, tolerance));
}

/// Sets must be equal in rows whose k-th chosen expert is clearly ahead of the next one; weights are compared expert by expert.
void ModelVerifier::check_routing(const RunRecord& record, const std::vector<int32_t>& experts, const std::vector<float>& weights,
                                  const Tolerances& t, int first_token, VerifyCase& c) const {
    const size_t n_layers = m_model->spec.moe_layers.size(), n_tokens = static_cast<size_t>(record.n_tokens() - first_token);
    if (n_layers * n_tokens == 0) return;
    const size_t k = experts.size() / (n_layers * n_tokens);
    if (k == 0 || weights.size() != experts.size() || experts.size() != n_layers * n_tokens * k) return note(c, "the golden routing has another shape");
    for (size_t m = 0; m < n_layers; ++m) {
        for (size_t token = 0; token < n_tokens; ++token) {
            const RoutedRow& row = record.row(static_cast<int>(m), first_token + static_cast<int>(token));
            const size_t at = (m * n_tokens + token) * k;
            if (row.margin(m_model->spec.router, bias_of(m), k) <= t.margin) continue;
            ++c.rows;
            std::map<int32_t, float> expected;
            for (size_t j = 0; j < k; ++j) expected[experts[at + j]] = weights[at + j];
            bool same = row.ids.size() == k;
            for (size_t j = 0; j < row.ids.size() && same; ++j) {
                const auto found = expected.find(row.ids[j]);
                same = found != expected.end();
                if (!same) break;
                const double d = difference(static_cast<double>(row.weights[j]), static_cast<double>(found->second));
                if (d > t.weights) note(c, fmt::format("a weight of token {} differs by {:.3g}; allowed are {:.3g}", token, d, t.weights));
            }
            c.rows_differ += !same;
        }
    }
}

void ModelVerifier::check_taps(const RunRecord& record, const std::string& prefix, const json& prompt, const Tolerances& t, VerifyCase& c) const {
    const auto compare = [&](const char* name, Tap tap) {
        const std::vector<float> expected = floats(prefix + name);
        if (!expected.empty()) check_values(name, record.tapped(tap), expected, t.logits, c);
    };
    compare("hidden", Tap::kHidden);
    compare("router_in", Tap::kRouterInput);
    compare("moe_out", Tap::kRoutedOutput);
    const std::vector<float> all = record.tapped(Tap::kFinal);
    std::vector<float> chosen;
    const auto width = static_cast<size_t>(m_model->spec.n_embd);
    for (const json& position : prompt.at("final_positions")) {
        const auto at = static_cast<std::ptrdiff_t>(position.get<size_t>() * width);
        if (static_cast<size_t>(at) + width <= all.size()) chosen.insert(chosen.end(), all.begin() + at, all.begin() + at + static_cast<std::ptrdiff_t>(width));
    }
    check_values("final", chosen, floats(prefix + "final"), t.logits, c);
}

VerifyCase ModelVerifier::prefill(const std::string& letter, const std::vector<int>& chunks, const std::string& label, bool with_taps) {
    VerifyCase c{.name = fmt::format("{} {} {}", m_name, letter, label), .pass = true};
    const json& prompt = m_golden.at("prompts").at(letter);
    const auto ids = prompt.at("ids").get<std::vector<int32_t>>();
    const Tolerances t = tolerances(prompt);
    c.tolerance = t.logits;
    RunRecord record(m_model->spec, m_start);
    if (with_taps) m_decoder->set_tap([&](Tap tap, int layer, int first, int n, std::span<const float> values) { record.keep(tap, layer, first, n, values); });
    m_decoder->set_policy(Policy{});
    size_t done = 0;
    for (size_t i = 0; done < ids.size(); ++i) {
        const size_t n = std::min(static_cast<size_t>(chunks[i % chunks.size()]), ids.size() - done);
        const Result<void> ran = feed(std::span<const int32_t>(ids).subspan(done, n), m_start + static_cast<int>(done), LogitRows::kAll, record);
        if (!ran) note(c, ran.error().message());
        done += n;
    }
    m_decoder->set_tap(nullptr);
    const std::string prefix = fmt::format("{}.{}.", letter, m_policy);
    check_values("logits", record.logits, floats(prefix + "logits"), t.logits, c);
    if (m_model->spec.is_moe()) {
        check_values("router logits", record.router_logits(), floats(prefix + "router_logits"), t.router_logits, c);
        check_routing(record, ints(prefix + "experts"), floats(prefix + "weights"), t, 0, c);
    }
    if (with_taps) check_taps(record, prefix, prompt, t, c);
    finish(c, with_taps ? "logits, routing, weights, intermediate values" : "logits, routing, weights");
    return c;
}

/// Eight tokens one at a time, each the most probable one.
VerifyCase ModelVerifier::greedy(const std::string& letter) {
    VerifyCase c{.name = fmt::format("{} {} greedy", m_name, letter), .pass = true};
    const json& prompt = m_golden.at("prompts").at(letter);
    const auto ids = prompt.at("ids").get<std::vector<int32_t>>();
    const auto continuation = prompt.at("continuation").at(m_policy).get<std::vector<int32_t>>();
    const Tolerances t = tolerances(prompt);
    c.tolerance = t.logits;
    RunRecord record(m_model->spec, m_start);
    m_decoder->set_policy(Policy{});
    if (const Result<void> ran = feed(ids, m_start, LogitRows::kLast, record); !ran) return failed_case(c.name, ran.error());
    Sampler sampler({.temperature = 0});
    std::vector<int32_t> chosen = {sampler.sample(m_decoder->logits(0), {})};
    for (size_t i = 0; i < continuation.size(); ++i) {
        const Result<void> ran = feed({&chosen.back(), 1}, m_start + static_cast<int>(ids.size() + i), LogitRows::kLast, record);
        if (!ran) return failed_case(c.name, ran.error());
        const std::span<const float> logits = m_decoder->logits(0);
        record.logits.insert(record.logits.end(), logits.begin(), logits.end());
        chosen.push_back(sampler.sample(logits, {}));
    }
    chosen.pop_back();
    c.greedy_equal = chosen == continuation;
    if (!c.greedy_equal) note(c, "another token is chosen");
    const std::string prefix = fmt::format("{}.{}.", letter, m_policy);
    check_values("logits", record.logits, floats(prefix + "cont_logits"), t.logits, c);
    const std::vector<int32_t> experts = ints(prefix + "cont_experts");
    if (!experts.empty()) check_routing(record, experts, floats(prefix + "cont_weights"), t, static_cast<int>(ids.size()), c);
    finish(c, "eight greedy tokens, their logits and routing");
    return c;
}

/// The prompt again with another number of experts per token.
VerifyCase ModelVerifier::with_k(const json& over) {
    const std::string letter = over.at("prompt").get<std::string>();
    const int k = over.at("k").get<int>();
    VerifyCase c{.name = fmt::format("{} {} k={}", m_name, letter, k), .pass = true};
    const json& prompt = m_golden.at("prompts").at(letter);
    const auto ids = prompt.at("ids").get<std::vector<int32_t>>();
    const Tolerances t = tolerances(prompt);
    c.tolerance = t.logits;
    RunRecord record(m_model->spec, m_start);
    Policy policy;
    policy.rule = GateRule::kTopK;
    policy.k = k;
    m_decoder->set_policy(policy);
    const Result<void> ran = feed(ids, m_start, LogitRows::kAll, record);
    m_decoder->set_policy(Policy{});
    if (!ran) return failed_case(c.name, ran.error());
    const auto n_vocab = static_cast<size_t>(m_model->spec.n_vocab);
    std::vector<float> logits;
    for (const json& position : over.at("logits_positions")) {
        const std::span<const float> row = std::span<const float>(record.logits).subspan(position.get<size_t>() * n_vocab, n_vocab);
        logits.insert(logits.end(), row.begin(), row.end());
    }
    const std::string prefix = fmt::format("{}.k{}.", letter, k);
    check_values("logits", logits, floats(prefix + "logits"), t.logits, c);
    check_routing(record, ints(prefix + "experts"), floats(prefix + "weights"), t, 0, c);
    finish(c, "logits, routing, weights");
    return c;
}

VerifyCase ModelVerifier::texts() const {
    VerifyCase c{.name = m_name + " text", .pass = true};
    for (const json& test : m_golden.at("text")) {
        ++c.rows;
        std::vector<int32_t> ids = m_model->tokenizer->encode(test.at("text").get<std::string>(), SpecialTokens::kParse);
        const bool plain = ids == test.at("ids").get<std::vector<int32_t>>();
        m_model->tokenizer->add_special(ids);
        if (plain && ids == test.at("ids_with_bos_rule").get<std::vector<int32_t>>()) continue;
        ++c.rows_differ;
        note(c, fmt::format("\"{}\" has other ids", test.at("text").get<std::string>()));
    }
    finish(c, "token ids");
    return c;
}

std::vector<VerifyCase> ModelVerifier::run_prompt(const std::string& letter, const json& prompt) {
    // A cache of its own, because a prompt that starts far in sees nothing before its start.
    m_start = prompt.at("start").get<int>();
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(m_model, m_make_stages(m_model->spec.n_layers), {.n_ctx = m_model->n_ctx, .begin = m_start});
    if (!decoder) return {failed_case(fmt::format("{} {}", m_name, letter), decoder.error())};
    m_decoder = std::move(*decoder);
    std::vector<VerifyCase> cases = {prefill(letter, {1 << 20}, "prefill", true)};
    for (const int n : {7, 16, 1}) cases.push_back(prefill(letter, {n}, fmt::format("chunks of {}", n), false));
    cases.push_back(prefill(letter, {7, 16, 1}, "chunks of 7, 16, 1", false));
    cases.push_back(greedy(letter));
    if (m_golden.contains("k_override"))
        for (const json& over : m_golden["k_override"])
            if (over.at("policy") == m_policy && over.at("prompt") == letter) cases.push_back(with_k(over));
    return cases;
}

std::vector<VerifyCase> ModelVerifier::run() {
    std::vector<VerifyCase> cases;
    for (const auto& [letter, prompt] : m_golden.at("prompts").items()) {
        std::vector<VerifyCase> more = run_prompt(letter, prompt);
        cases.insert(cases.end(), more.begin(), more.end());
    }
    if (m_golden.contains("text")) cases.push_back(texts());
    return cases;
}

}  // namespace

/// Every published reading of the family that the golden has (moe-families.md section 5).
std::vector<VerifyCase> verify_model(const fs::path& dir, const StageFactory& make_stages) {
    const json golden = read_json(dir / "golden.json");
    const std::string name = golden.at("name").get<std::string>();
    const Result<SafetensorsFile> arrays = SafetensorsFile::open(dir / "golden.safetensors");
    if (!arrays) return {failed_case(name, arrays.error())};
    std::vector<VerifyCase> cases;
    for (const json& policy : golden.at("policies")) {
        const Reading reading = policy == name_of(Reading::kReference) ? Reading::kReference : Reading::kLlamaCpp;
        Result<std::shared_ptr<const Model>> model = Model::load(dir / "model.gguf", {.n_ctx = golden.at("n_ctx").get<int>(), .reading = reading});
        if (!model) return {failed_case(name, model.error())};
        const std::vector<VerifyCase> more = ModelVerifier(golden, *arrays, *model, make_stages, policy.get<std::string>()).run();
        cases.insert(cases.end(), more.begin(), more.end());
    }
    return cases;
}

}  // namespace gs
