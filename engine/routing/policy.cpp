#include "engine/routing/policy.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace gs {
namespace {

constexpr int kAllLayers = std::numeric_limits<int>::max();

Error bad_policy(std::string why, std::string remedy = "See the policy grammar in README.md, for example rule=topk,k=2,k@4-7=1") {
    return {ErrorKind::kUsage, "bad_policy", "Routing policy", std::move(why), std::move(remedy)};
}

std::string range_text(const Policy::LayerItem& item) {
    if (item.first == 0 && item.last == kAllLayers) return "*";
    return item.first == item.last ? fmt::format("{}", item.first) : fmt::format("{}-{}", item.first, item.last);
}

void set_flags(std::vector<uint8_t>& flags, const std::vector<int>& experts, int n_experts) {
    if (experts.empty()) return;
    flags.resize(static_cast<size_t>(n_experts), 0);
    for (int e : experts) {
        if (e >= 0 && e < n_experts) flags[e] = 1;
    }
}

int count(const std::vector<uint8_t>& flags) {
    return static_cast<int>(std::count_if(flags.begin(), flags.end(), [](uint8_t f) { return f != 0; }));
}

Result<void> check_k(std::string_view item, int k, int n_experts) {
    if (k < 0 || k > n_experts) return bad_policy(fmt::format("{}={} is outside 1..{}, the experts of this model", item, k, n_experts));
    return {};
}

/// What did not come from text may be anything.
Result<void> check_number(const char* name, float value, float low, float high) {
    if (!(value >= low && value <= high)) return bad_policy(fmt::format("{} {} is outside {}..{}", name, value, low, high));
    return {};
}

Result<void> check_numbers(float temperature, float p, float tau, float noise) {
    GS_TRY_VOID(check_number("temperature", temperature, kMinTemperature, kMaxTemperature));
    GS_TRY_VOID(check_number("p", p, kMinP, 1));
    GS_TRY_VOID(check_number("tau", tau, 0, 1));
    return check_number("noise", noise, 0, kMaxNoise);
}

Result<void> check_item(const Policy::LayerItem& item, int n_experts, int n_layers) {
    const std::string range = range_text(item);
    if (item.first < 0 || item.first > item.last) return bad_policy(fmt::format("@{} is not a layer range", range));
    if (item.last >= n_layers && item.last != kAllLayers) {
        return bad_policy(fmt::format("@{} is outside the layers of this model, 0..{}", range, n_layers - 1));
    }
    if (item.k && *item.k < 1) return bad_policy(fmt::format("k@{}={} is outside 1..{}", range, *item.k, n_experts));
    GS_TRY_VOID(check_k(fmt::format("k@{}", range), item.k.value_or(1), n_experts));
    GS_TRY_VOID(check_numbers(item.temperature.value_or(1.0f), item.p.value_or(1.0f), item.tau.value_or(0.0f), item.noise.value_or(0.0f)));
    for (const Policy::ExpertBias& b : item.bias) {
        if (b.expert < 0 || b.expert >= n_experts)
            return bad_policy(fmt::format("bias@{} names expert {}, but the experts of this model are 0..{}", range, b.expert, n_experts - 1));
        GS_TRY_VOID(check_number("bias", b.bias, -kMaxBias, kMaxBias));
    }
    for (const auto& [name, experts] : {std::pair{"mask", &item.masked}, std::pair{"force", &item.forced}, std::pair{"zero", &item.zeroed}}) {
        for (int e : *experts) {
            if (e >= 0 && e < n_experts) continue;
            return bad_policy(fmt::format("{}@{} names expert {}, but the experts of this model are 0..{}", name, range, e, n_experts - 1));
        }
    }
    for (const ExpertSwap& swap : item.swapped) {
        if (swap.from == swap.to) return bad_policy(fmt::format("swap@{}={}>{} exchanges an expert for itself", range, swap.from, swap.to));
        for (int e : {swap.from, swap.to}) {
            if (e >= 0 && e < n_experts) continue;
            return bad_policy(fmt::format("swap@{} names expert {}, but the experts of this model are 0..{}", range, e, n_experts - 1));
        }
    }
    return {};
}

/// What holds for a layer only when all its items are put together.
Result<void> check_layer(const LayerPolicy& policy, const RouterSpec& spec, int layer) {
    if (count(policy.masked) >= spec.n_experts) {
        return bad_policy(fmt::format("layer {}: mask leaves no expert", layer), "Leave at least one expert unmasked");
    }
    if (policy.rule == GateRule::kExpertChoice && count(policy.forced) > 0) {
        return bad_policy(fmt::format("layer {}: under expert-choice experts take tokens, so that none can be forced on a token", layer), "Drop the force, or choose another rule");
    }
    const int n_forced = count(policy.forced), k = policy.experts_per_token(spec);
    if (n_forced > k) {
        return bad_policy(fmt::format("layer {}: force names {} experts, but a token uses only {}", layer, n_forced, k),
                          "Force fewer or raise k");
    }
    for (size_t e = 0; e < policy.forced.size() && !policy.masked.empty(); ++e) {
        if (policy.forced[e] && policy.masked[e]) {
            return bad_policy(fmt::format("layer {}: expert {} is both masked and forced", layer, e), "Drop one of the two");
        }
    }
    for (const ExpertSwap& swap : policy.swapped) {
        if (!policy.masked.empty() && policy.masked[static_cast<size_t>(swap.to)] != 0)
            return bad_policy(fmt::format("layer {}: swap {}>{} lets an expert run that is masked", layer, swap.from, swap.to), "Drop one of the two");
    }
    return {};
}

std::string list_text(const std::vector<int>& experts) { return fmt::format("{}", fmt::join(experts, ":")); }
std::string list_text(const std::vector<Policy::ExpertBias>& bias) {
    std::string out;
    for (const Policy::ExpertBias& b : bias) out += fmt::format("{}{}{:+}", out.empty() ? "" : ":", b.expert, b.bias);
    return out;
}

std::string list_text(const std::vector<ExpertSwap>& swaps) {
    std::string text;
    for (const ExpertSwap& swap : swaps) text += fmt::format("{}{}>{}", text.empty() ? "" : ":", swap.from, swap.to);
    return text;
}

/// The keys of one item. When they are read, a key joins the item before it if that one has the same range and lacks the key. Two items of one
/// range have a key in common, so the common ones go first: they begin the new item.
void append_keys(const Policy::LayerItem& item, const Policy::LayerItem* before, std::vector<std::string>& out) {
    const std::string range = range_text(item);
    const bool may_join = before && before->first == item.first && before->last == item.last;
    struct Key {
        bool is_common;
        std::string text;
    };
    std::vector<Key> keys;
    const auto add = [&](const char* name, bool is_in_both, std::string value) {
        keys.push_back({may_join && is_in_both, fmt::format("{}@{}={}", name, range, value)});
    };
    if (item.rule) add("rule", before && before->rule, name_of(*item.rule));
    if (item.k) add("k", before && before->k, fmt::format("{}", *item.k));
    if (item.p) add("p", before && before->p, fmt::format("{}", *item.p));
    if (item.tau) add("tau", before && before->tau, fmt::format("{}", *item.tau));
    if (item.temperature) add("temp", before && before->temperature, fmt::format("{}", *item.temperature));
    if (item.noise) add("noise", before && before->noise, fmt::format("{}", *item.noise));
    if (!item.masked.empty()) add("mask", before && !before->masked.empty(), list_text(item.masked));
    if (!item.forced.empty()) add("force", before && !before->forced.empty(), list_text(item.forced));
    if (!item.bias.empty()) add("bias", before && !before->bias.empty(), list_text(item.bias));
    if (!item.zeroed.empty()) add("zero", before && !before->zeroed.empty(), list_text(item.zeroed));
    if (!item.swapped.empty()) add("swap", before && !before->swapped.empty(), list_text(item.swapped));
    std::stable_partition(keys.begin(), keys.end(), [](const Key& key) { return key.is_common; });
    for (Key& key : keys) out.push_back(std::move(key.text));
}

}  // namespace

bool Policy::is_native() const {
    const auto changes_nothing = [](const LayerItem& item) {
        return !item.k && item.masked.empty() && item.forced.empty() && item.zeroed.empty() && item.swapped.empty() &&
               item.own_rule().value_or(GateRule::kNative) == GateRule::kNative && item.temperature.value_or(1.0f) == 1.0f &&
               item.noise.value_or(0.0f) == 0 && item.bias.empty();
    };
    return rule == GateRule::kNative && temperature == 1.0f && weight_rule == WeightRule::kAsTrained && noise == 0 && capacity == 0 &&
           std::all_of(layers.begin(), layers.end(), changes_nothing);
}

bool Policy::is_by_batch() const {
    return capacity > 0 || rule == GateRule::kExpertChoice ||
           std::any_of(layers.begin(), layers.end(), [](const LayerItem& item) { return item.rule == GateRule::kExpertChoice; });
}

std::optional<GateRule> implied_rule(bool has_tau, bool has_p, bool has_k) {
    if (has_tau) return GateRule::kThreshold;
    if (has_p) return GateRule::kTopP;
    if (has_k) return GateRule::kTopK;
    return std::nullopt;
}

std::optional<GateRule> Policy::LayerItem::own_rule() const {
    return rule ? rule : implied_rule(tau.has_value(), p.has_value(), k.has_value());
}

std::string Policy::to_text() const {
    std::vector<std::string> items;
    const bool with_p = p != kDefaultP || rule == GateRule::kTopP, with_tau = tau != kDefaultTau || rule == GateRule::kThreshold;
    if (implied_rule(with_tau, with_p, k > 0).value_or(GateRule::kNative) != rule) items.push_back(name_of(rule));
    if (k > 0) items.push_back(fmt::format("k={}", k));
    if (with_p) items.push_back(fmt::format("p={}", p));
    if (with_tau) items.push_back(fmt::format("tau={}", tau));
    if (temperature != 1.0f) items.push_back(fmt::format("temp={}", temperature));
    if (noise != 0) items.push_back(fmt::format("noise={}", noise));
    if (seed != 0) items.push_back(fmt::format("seed={}", seed));
    if (capacity != 0) items.push_back(fmt::format("capacity={}", capacity));
    if (weight_rule != WeightRule::kAsTrained) items.push_back(fmt::format("weights={}", name_of(weight_rule)));
    for (size_t i = 0; i < layers.size(); ++i) append_keys(layers[i], i > 0 ? &layers[i - 1] : nullptr, items);
    return items.empty() ? "native" : fmt::format("{}", fmt::join(items, ","));
}

Result<void> Policy::check(const RouterSpec& spec, int n_layers) const {
    if (spec.n_experts == 0) {
        if (is_native()) return {};
        return bad_policy("this model is dense: it has no experts to choose from", "Use the policy native");
    }
    GS_TRY_VOID(check_k("k", k, spec.n_experts));
    GS_TRY_VOID(check_numbers(temperature, p, tau, noise));
    if (capacity != 0) GS_TRY_VOID(check_number("capacity", capacity, kMinCapacity, kMaxCapacity));
    for (const LayerItem& item : layers) GS_TRY_VOID(check_item(item, spec.n_experts, n_layers));
    for (int layer = 0; layer < n_layers; ++layer) GS_TRY_VOID(check_layer(for_layer(layer, spec.n_experts), spec, layer));
    return {};
}

LayerPolicy Policy::for_layer(int layer, int n_experts) const {
    LayerPolicy out;
    out.rule = rule;
    out.k = k;
    out.temperature = temperature;
    out.weight_rule = weight_rule;
    out.p = p;
    out.tau = tau;
    out.noise = noise;
    out.seed = seed;
    out.layer = layer;
    out.capacity = capacity;
    for (const LayerItem& item : layers) {
        if (layer < item.first || layer > item.last) continue;
        if (const auto own = item.own_rule()) out.rule = *own;
        if (item.k) out.k = *item.k;
        if (item.p) out.p = *item.p;
        if (item.tau) out.tau = *item.tau;
        if (item.temperature) out.temperature = *item.temperature;
        if (item.noise) out.noise = *item.noise;
        if (!item.bias.empty()) out.bias.resize(static_cast<size_t>(std::max(n_experts, 0)), 0.0f);
        for (const ExpertBias& b : item.bias)
            if (b.expert >= 0 && b.expert < n_experts) out.bias[static_cast<size_t>(b.expert)] = b.bias;
        set_flags(out.masked, item.masked, n_experts);
        set_flags(out.forced, item.forced, n_experts);
        set_flags(out.zeroed, item.zeroed, n_experts);
        for (const ExpertSwap& swap : item.swapped) {
            const bool known = swap.from >= 0 && swap.from < n_experts && swap.to >= 0 && swap.to < n_experts && swap.from != swap.to;
            if (known) out.swapped.push_back(swap);
        }
    }
    return out;
}

std::vector<LayerPolicy> resolve(const Policy& policy, const RouterSpec& spec, int n_layers) {
    std::vector<LayerPolicy> out;
    out.reserve(static_cast<size_t>(std::max(n_layers, 0)));
    for (int layer = 0; layer < n_layers; ++layer) out.push_back(policy.for_layer(layer, spec.n_experts));
    return out;
}

const char* name_of(GateRule rule) {
    constexpr std::array names = {"native", "soft", "hard", "topk", "topp", "threshold", "expert-choice"};
    return names[static_cast<size_t>(rule)];
}
const char* name_of(WeightRule rule) {
    constexpr std::array names = {"trained", "one", "native-sum"};
    return names[static_cast<size_t>(rule)];
}

}  // namespace gs
