#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/io/trace_file.h"
#include "engine/io/trace_schema.h"
#include "engine/io/trace_tensors.h"
#include "engine/routing/metrics.h"
#include "engine/routing/what_if.h"

namespace gs {
namespace {

using nlohmann::ordered_json;

/// The columns of a trace as flat arrays.
struct Columns {
    std::vector<int32_t> token_ids, policy;
    std::vector<uint8_t> phases, special, text, prompt;
    std::vector<float> logprob, entropy, logits, preference, selection, weights, margin, selection_bias;
    std::vector<int64_t> text_ends;
    std::vector<uint16_t> ids, n_used;
    std::vector<std::string> policies;
    std::unordered_map<std::string, int32_t> policy_index;   ///< into policies: a token may have one of its own
    size_t k_max = 0;
};

void add_token(const TraceSnapshot& trace, int token, Columns& out) {
    const TokenRow& row = trace.token(token);
    out.token_ids.push_back(row.id);
    out.phases.push_back(static_cast<uint8_t>(row.phase));
    out.special.push_back(row.special);
    out.logprob.push_back(row.logprob);
    out.entropy.push_back(row.entropy);
    out.text.insert(out.text.end(), row.text.begin(), row.text.end());
    out.text_ends.push_back(static_cast<int64_t>(out.text.size()));
    const std::string policy = trace.policy(token).to_text();
    const auto [known, is_new] = out.policy_index.try_emplace(policy, static_cast<int32_t>(out.policies.size()));
    out.policy.push_back(known->second);
    if (is_new) out.policies.push_back(policy);
}

/// The routes of one token; preference and selection scores are computed again from the logits, under the policy of the token.
void add_routes(const TraceSnapshot& trace, int token, const std::vector<LayerPolicy>& policies, RouteRow& row, Columns& out) {
    for (int m = 0; m < trace.n_moe_layers(); ++m) {
        const auto logits = trace.logits(m, token);
        const auto ids = trace.ids(m, token);
        const auto weights = trace.weights(m, token);
        if (trace.has_logits()) {
            what_if_route(trace, m, token, policies[static_cast<size_t>(m)], row);
            out.logits.insert(out.logits.end(), logits.begin(), logits.end());
            out.preference.insert(out.preference.end(), row.preference.begin(), row.preference.end());
            out.selection.insert(out.selection.end(), row.selection.begin(), row.selection.end());
            out.margin.push_back(static_cast<float>(selection_margin(logits, ids)));
        }
        out.ids.insert(out.ids.end(), ids.begin(), ids.end());
        out.ids.resize(out.ids.size() + out.k_max - ids.size(), trace_schema::kFiller);
        out.weights.insert(out.weights.end(), weights.begin(), weights.end());
        out.weights.resize(out.weights.size() + out.k_max - weights.size(), 0.0f);
        out.n_used.push_back(static_cast<uint16_t>(ids.size()));
    }
}

Columns columns_of(const TraceSnapshot& trace) {
    Columns out;
    const TraceInfo& info = trace.info();
    out.prompt.assign(info.prompt.begin(), info.prompt.end());
    for (const auto& layer : info.selection_bias) out.selection_bias.insert(out.selection_bias.end(), layer.begin(), layer.end());
    for (int t = 0; t < trace.n_tokens(); ++t) {
        for (int m = 0; m < trace.n_moe_layers(); ++m) out.k_max = std::max(out.k_max, trace.ids(m, t).size());
    }
    const size_t rows = static_cast<size_t>(trace.n_tokens()) * info.moe_layers.size(), n_experts = static_cast<size_t>(trace.n_experts());
    if (trace.has_logits())
        for (auto* column : {&out.logits, &out.preference, &out.selection}) column->reserve(rows * n_experts);
    RouteRow row;
    std::vector<LayerPolicy> policies;
    for (int t = 0; t < trace.n_tokens(); ++t) {
        add_token(trace, t, out);
        if (t == 0 || trace.token(t).policy != trace.token(t - 1).policy) {
            policies.clear();
            for (int layer : info.moe_layers) policies.push_back(trace.policy(t).for_layer(layer, info.router.n_experts));
        }
        add_routes(trace, t, policies, row, out);
    }
    return out;
}

ordered_json router_json(const RouterSpec& spec) {
    return {{"n_experts", spec.n_experts},
            {"n_used", spec.n_used},
            {"score", trace_schema::kScores[static_cast<size_t>(spec.score)]},
            {"renormalise", spec.renormalise},
            {"norm_floor", spec.norm_floor},
            {"norm_epsilon", spec.norm_epsilon},
            {"scale", spec.scale},
            {"select_by_logits", spec.select_by_logits},
            {"weigh_input", spec.weigh_input},
            {"n_groups", spec.n_groups},
            {"n_groups_used", spec.n_groups_used},
            {"group_score", trace_schema::kGroupScores[static_cast<size_t>(spec.group_score)]}};
}

ordered_json lacks_json(const TraceLacks& lacks) {
    ordered_json names = ordered_json::array();
    for (size_t i = 0; i < trace_schema::kLacks.size(); ++i)
        if (lacks.*trace_schema::kLacksMembers[i]) names.push_back(trace_schema::kLacks[i]);
    return names;
}

ordered_json tensors_json() {
    return {{"token_ids", "[T] vocabulary index"},
            {"phases", "[T] 0 prefill, 1 decode"},
            {"special", "[T] 1 for control tokens"},
            {"policy", "[T] index into policies"},
            {"logprob", "[T] natural log of the probability the model gave this token; NaN if there was none"},
            {"entropy", "[T] nats, of the same distribution"},
            {"text", "bytes of all tokens; token t is text[text_ends[t-1]:text_ends[t]]"},
            {"text_ends", "[T] end of each token in text"},
            {"prompt", "bytes of the prompt as typed"},
            {"router_logits", "[T, MoE layer, expert] router bias included"},
            {"preference", "[T, MoE layer, expert] what the router would like: softmax or sigmoid of logits / temperature"},
            {"selection", "[T, MoE layer, expert] what the top-k is taken over; -inf where masked or outside the kept groups"},
            {"expert_ids", "[T, MoE layer, k] best first; 65535 beyond n_used"},
            {"weights", "[T, MoE layer, k] applied weights of the same slots; 0 beyond n_used"},
            {"n_used", "[T, MoE layer] experts used"},
            {"margin", "[T, MoE layer] logit of the worst chosen minus the best rejected expert; inf if all are chosen"},
            {"selection_bias", "[MoE layer, expert] added to the selection score only"}};
}

ordered_json description_of(const TraceInfo& info, const Columns& columns) {
    return {{"format", trace_schema::kFormat},
            {"version", trace_schema::kVersion},
            {"model",
             {{"name", info.model_name},
              {"file", info.model_file},
              {"hash", info.model_hash},
              {"architecture", info.architecture},
              {"family", info.family}}},
            {"reading", info.reading},
            {"engine", info.engine},
            {"precision", info.precision},
            {"template", info.template_name},
            {"sampler", info.sampler},
            {"provenance", name_of(info.provenance)},
            {"router", router_json(info.router)},
            {"n_layers", info.n_layers},
            {"moe_layers", info.moe_layers},
            {"shared_expert", info.has_shared_expert},
            {"dense_bytes_per_token", info.dense_bytes_per_token},
            {"expert_bytes", info.expert_bytes},
            {"source", info.source},
            {"lacks", lacks_json(info.lacks)},
            {"notes", info.notes},
            {"policies", columns.policies},
            {"filler", trace_schema::kFiller},
            {"tensors", tensors_json()}};
}

template <class T>
SafetensorsEntry entry(const char* name, const char* dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
    return {name, dtype, std::move(shape), std::as_bytes(std::span(values))};
}

}  // namespace

TraceTensors trace_tensors(const TraceSnapshot& trace) {
    const TraceInfo& info = trace.info();
    const auto columns = std::make_shared<const Columns>(columns_of(trace));
    const Columns& c = *columns;
    const int64_t n = trace.n_tokens(), n_layers = info.n_moe_layers(), n_experts = trace.n_experts(), k = static_cast<int64_t>(c.k_max);
    TraceTensors out;
    out.owner = columns;
    out.entries = {
        entry("token_ids", "I32", {n}, c.token_ids),
        entry("phases", "U8", {n}, c.phases),
        entry("special", "U8", {n}, c.special),
        entry("policy", "I32", {n}, c.policy),
        entry("logprob", "F32", {n}, c.logprob),
        entry("entropy", "F32", {n}, c.entropy),
        entry("text", "U8", {static_cast<int64_t>(c.text.size())}, c.text),
        entry("text_ends", "I64", {n}, c.text_ends),
        entry("prompt", "U8", {static_cast<int64_t>(c.prompt.size())}, c.prompt),
    };
    if (trace.has_logits())
        for (const auto& [name, values] : {std::pair("router_logits", &c.logits), {"preference", &c.preference}, {"selection", &c.selection}})
            out.entries.push_back(entry(name, "F32", {n, n_layers, n_experts}, *values));
    out.entries.push_back(entry("expert_ids", "U16", {n, n_layers, k}, c.ids));
    if (trace.has_weights()) out.entries.push_back(entry("weights", "F32", {n, n_layers, k}, c.weights));
    out.entries.push_back(entry("n_used", "U16", {n, n_layers}, c.n_used));
    if (trace.has_logits()) out.entries.push_back(entry("margin", "F32", {n, n_layers}, c.margin));
    if (!c.selection_bias.empty()) out.entries.push_back(entry("selection_bias", "F32", {n_layers, n_experts}, c.selection_bias));
    out.description = description_of(info, c).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    return out;
}

Result<void> save_trace(const TraceSnapshot& trace, const std::filesystem::path& path) try {
    const TraceTensors tensors = trace_tensors(trace);
    return write_safetensors(path, {{trace_schema::kKey, tensors.description}}, tensors.entries);
} catch (const std::bad_alloc&) {
    return Error{ErrorKind::kRun, "out_of_memory", fmt::format("Cannot write {}", path.string()),
                 "there is not enough memory to gather the trace", "Close other programs or save a shorter run"};
} catch (const std::exception& error) {
    return Error{ErrorKind::kRun, "cannot_write", fmt::format("Cannot write {}", path.string()), error.what(), ""};
}

}  // namespace gs
