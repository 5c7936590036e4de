// Fuzz target: the text forms of routing policies and sampler settings, and routing under any policy that a model accepts.
#include <string>
#include <vector>

#include "engine/decode/sampler.h"
#include "engine/routing/policy.h"
#include "engine/routing/router.h"
#include "tests/fuzz/fuzz_target.h"

namespace gs {
namespace {

constexpr int kLayers = 12;

/// Small enough that texts of a few bytes reach every expert, and of each kind that the router tells apart.
std::vector<RouterSpec> routers() {
    return {{.n_experts = 16, .n_used = 4, .renormalise = true},
            {.n_experts = 12, .n_used = 3, .score = ScoreFn::kSigmoid, .renormalise = true, .scale = 2.5f, .n_groups = 4, .n_groups_used = 2},
            {.n_experts = 16, .n_used = 1, .score = ScoreFn::kSigmoid, .select_by_logits = true, .weigh_input = true},
            {.n_experts = 8, .n_used = 2, .score = ScoreFn::kSparseMixer},
            {.n_experts = 4, .n_used = 4, .score = ScoreFn::kSoftmaxAfterTopK},
            {}};
}

void check_route(const RouterSpec& spec, const LayerPolicy& policy, int layer) {
    std::vector<float> logits(static_cast<size_t>(spec.n_experts));
    for (size_t e = 0; e < logits.size(); ++e) logits[e] = static_cast<float>((e * 7 + static_cast<size_t>(layer) * 3) % 11) - 5.0f;
    RouteRow row;
    route(spec, policy, logits, {}, row);
    GS_CHECK(row.k() >= 1 && row.k() <= policy.experts_per_token(spec), "a token uses no expert, or more than its policy says");
    GS_CHECK(row.weights.size() == row.ids.size(), "experts and weights differ in number");
    std::vector<uint8_t> seen(logits.size(), 0);
    for (const int32_t id : row.ids) {
        GS_CHECK(id >= 0 && id < spec.n_experts, "an expert that does not exist");
        GS_CHECK(!seen[static_cast<size_t>(id)], "an expert comes twice");
        GS_CHECK(policy.masked.empty() || !policy.masked[static_cast<size_t>(id)], "a masked expert was chosen");
        seen[static_cast<size_t>(id)] = 1;
    }
    for (size_t j = 0; j < row.ids.size() && !policy.zeroed.empty(); ++j) {
        GS_CHECK(!policy.zeroed[static_cast<size_t>(row.ids[j])] || row.weights[j] == 0, "a zeroed expert contributes");
    }
    for (size_t e = 0; e < policy.forced.size() && policy.swapped.empty(); ++e) GS_CHECK(!policy.forced[e] || seen[e], "a forced expert was not chosen");
}

/// What a terminal is shown: whoever wrote the text must not be able to steer it.
void check_error(const Error& error) {
    GS_CHECK(error.kind == ErrorKind::kUsage && !error.why.empty(), "an error without a reason");
    for (const unsigned char c : error.message()) GS_CHECK(c >= 0x20 && c != 0x7f, "an error repeats control characters");
    GS_CHECK(error.message().size() < 1000, "an error repeats a long text");
}

void check_policy(const std::string& text) {
    const Result<Policy> policy = Policy::parse(text);
    if (!policy) return check_error(policy.error());
    const std::string printed = policy->to_text();
    const Result<Policy> again = Policy::parse(printed);
    GS_CHECK(again, "a printed policy does not parse");
    GS_CHECK(*again == *policy, "a printed policy parses to another one");
    GS_CHECK(again->to_text() == printed, "a policy prints in two ways");
    for (const RouterSpec& spec : routers()) {
        const bool fits = static_cast<bool>(policy->check(spec, kLayers));
        const std::vector<LayerPolicy> layers = resolve(*policy, spec, kLayers);
        GS_CHECK(layers.size() == kLayers, "a layer is without a policy");
        for (int l = 0; l < kLayers && fits && spec.n_experts > 0; ++l) check_route(spec, layers[static_cast<size_t>(l)], l);
    }
}

void check_sampler(const std::string& text) {
    const Result<SamplerSettings> settings = SamplerSettings::parse(text);
    if (!settings) return check_error(settings.error());
    const Result<SamplerSettings> again = SamplerSettings::parse(settings->to_text());
    GS_CHECK(again, "printed settings do not parse");
    GS_CHECK(*again == *settings, "printed settings parse to others");
    const std::vector<float> logits{0.5f, -1.0f, 3.0f, 2.5f, 1e30f, -1e30f, 3.0f};
    const std::vector<int32_t> recent{0, 2, 2, 4};
    Sampler sampler(*settings);
    for (int i = 0; i < 4; ++i) {
        const int32_t id = sampler.sample(logits, recent);
        GS_CHECK(id >= 0 && static_cast<size_t>(id) < logits.size(), "a sampled token is outside the vocabulary");
    }
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(policy) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    gs::check_policy(text);
    gs::check_sampler(text);
    return 0;
}
