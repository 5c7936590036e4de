#include "tests/support/make_trace.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>

namespace gs::test {
namespace {

const char* const kPieces[] = {" llama", " is", " a", " the", " animal", " of", " South", " America", ",", ".", " wool", " in", " mountain",
                               "s", " and", " pack", " with", " long", " neck", "\n", " used", " by", " people", " for", " carrying",
                               "\xc3", "\xa9", " caf", " 42", "\xe2\x80\x94"};

TokenRow token_row(int token, int n_prompt, std::mt19937& random) {
    TokenRow row;
    const size_t piece = random() % std::size(kPieces);
    row.id = static_cast<int32_t>(piece) + 3;
    row.text = kPieces[piece];
    row.phase = token < n_prompt ? Phase::kPrefill : Phase::kDecode;
    if (token == 0) {
        row.id = 1;
        row.text = "<s>";
        row.special = true;
    }
    std::exponential_distribution<float> surprise(0.7f);
    row.logprob = token == 0 ? std::numeric_limits<float>::quiet_NaN() : -surprise(random);
    row.entropy = token == 0 ? std::numeric_limits<float>::quiet_NaN() : surprise(random);
    return row;
}

/// One token in all layers. drift: [M][E], a slow random walk, so that neighbouring tokens share experts as in real models.
void route_token(TraceWriter& writer, const TraceInfo& info, const Policy& policy, std::vector<std::vector<float>>& drift,
                 std::mt19937& random) {
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> logits(static_cast<size_t>(info.router.n_experts));
    RouteRow row;
    for (int m = 0; m < info.n_moe_layers(); ++m) {
        for (size_t e = 0; e < logits.size(); ++e) {
            float& slow = drift[static_cast<size_t>(m)][e];
            slow = 0.8f * slow + 0.6f * normal(random);
            logits[e] = slow + normal(random);
        }
        std::span<const float> bias;
        if (!info.selection_bias.empty()) bias = info.selection_bias[static_cast<size_t>(m)];
        const int layer = info.moe_layers[static_cast<size_t>(m)];
        route(info.router, policy.for_layer(layer, info.router.n_experts), logits, bias, row);
        writer.set_route(m, 0, logits, row.ids, row.weights);
    }
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](float x, float y) { return std::bit_cast<uint32_t>(x) == std::bit_cast<uint32_t>(y); });
}

const char* info_difference(const TraceInfo& a, const TraceInfo& b) {
    if (a.model_name != b.model_name || a.model_file != b.model_file || a.model_hash != b.model_hash) return "model";
    if (a.architecture != b.architecture || a.family != b.family || a.reading != b.reading) return "architecture or reading";
    if (a.engine != b.engine || a.precision != b.precision) return "engine";
    if (a.prompt != b.prompt || a.template_name != b.template_name || a.sampler != b.sampler) return "prompt";
    if (a.router != b.router) return "router";
    if (a.n_layers != b.n_layers || a.moe_layers != b.moe_layers) return "layers";
    if (a.selection_bias != b.selection_bias || a.has_shared_expert != b.has_shared_expert) return "selection bias or shared expert";
    if (a.dense_bytes_per_token != b.dense_bytes_per_token || a.expert_bytes != b.expert_bytes) return "byte counts";
    return nullptr;
}

const char* token_difference(const TraceSnapshot& a, const TraceSnapshot& b, int token) {
    const TokenRow &x = a.token(token), &y = b.token(token);
    if (x.id != y.id || x.text != y.text || x.phase != y.phase || x.special != y.special) return "token";
    if (!same_bits(std::span(&x.logprob, 1), std::span(&y.logprob, 1)) || !same_bits(std::span(&x.entropy, 1), std::span(&y.entropy, 1))) {
        return "logprob or entropy";
    }
    if (!(a.policy(token) == b.policy(token))) return "policy";
    for (int m = 0; m < a.n_moe_layers(); ++m) {
        if (!same_bits(a.logits(m, token), b.logits(m, token))) return "logits";
        if (!std::ranges::equal(a.ids(m, token), b.ids(m, token))) return "ids";
        if (!same_bits(a.weights(m, token), b.weights(m, token))) return "weights";
    }
    return nullptr;
}

}  // namespace

TraceInfo make_trace_info(const MakeTrace& options) {
    TraceInfo info;
    info.model_name = "Synthetic MoE";
    info.model_file = "synthetic.gguf";
    info.model_hash = "0123456789abcdef";
    info.architecture = "llama";
    info.family = "Mixtral";
    info.engine = "cpu reference";
    info.precision = "exact";
    info.prompt = "What is a llama?";
    info.template_name = "raw";
    info.sampler = "greedy";
    info.router = options.router;
    info.n_layers = options.n_layers;
    info.dense_bytes_per_token = 1000000;
    info.expert_bytes = 250000;
    for (int layer = options.n_dense; layer < options.n_layers; ++layer) info.moe_layers.push_back(layer);
    if (options.selection_bias) {
        std::mt19937 random(options.seed + 1);
        std::normal_distribution<float> normal(0.0f, 0.1f);
        info.selection_bias.assign(info.moe_layers.size(), std::vector<float>(static_cast<size_t>(options.router.n_experts)));
        for (auto& layer : info.selection_bias) std::ranges::generate(layer, [&] { return normal(random); });
    }
    return info;
}

TraceSnapshot make_trace(const MakeTrace& options) {
    const TraceInfo info = make_trace_info(options);
    const int n_prompt = options.n_prompt < 0 ? (options.n_tokens + 3) / 4 : options.n_prompt;
    const Result<Policy> decoded = Policy::parse(options.policy);
    if (!decoded) throw std::invalid_argument(decoded.error().message());
    std::mt19937 random(options.seed);
    std::vector<std::vector<float>> drift(info.moe_layers.size(), std::vector<float>(static_cast<size_t>(info.router.n_experts)));
    TraceWriter writer(info);
    for (int token = 0; token < options.n_tokens; ++token) {
        const Policy policy = token < n_prompt ? Policy{} : *decoded;
        const TokenRow row = token_row(token, n_prompt, random);
        writer.begin_tokens(std::span(&row, 1), policy);
        route_token(writer, info, policy, drift, random);
        writer.publish();
    }
    return writer.snapshot();
}

bool same_run(const TraceSnapshot& a, const TraceSnapshot& b, std::string* why) {
    const auto differs = [&](const std::string& what) {
        if (why) *why = what;
        return false;
    };
    if (const char* what = info_difference(a.info(), b.info())) return differs(what);
    if (a.n_tokens() != b.n_tokens()) return differs("number of tokens");
    for (int token = 0; token < a.n_tokens(); ++token) {
        if (const char* what = token_difference(a, b, token)) return differs(std::string(what) + " at token " + std::to_string(token));
    }
    return true;
}

}  // namespace gs::test
