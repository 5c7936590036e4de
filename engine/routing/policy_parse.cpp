// The text form of a policy. It comes from command lines, settings and trace files: anything may be in it.
#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "engine/routing/policy.h"

namespace gs {
namespace {

constexpr size_t kMaxText = 1u << 16;
constexpr int kMaxLayer = 511, kMaxExperts = 1024;  // moe-families.md 1.4
constexpr size_t kShown = 40;                       // bytes of a bad item that an error repeats

/// Printable ASCII of at most kShown characters: what the user gave may hold anything.
std::string shown(std::string_view text) {
    std::string out;
    for (char c : text.substr(0, kShown)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return text.size() > kShown ? out + "..." : out;
}

Error bad_item(std::string_view item, std::string_view why) {
    return {ErrorKind::kUsage, "bad_policy", "Routing policy", fmt::format("\"{}\": {}", shown(item), why),
            "Items are rule, k, temp, weights, and with a layer range rule@R, k@R, temp@R, mask@R, force@R, for example k=2,k@4-7=1"};
}

std::string_view trim(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && blank(text.back())) text.remove_suffix(1);
    return text;
}

/// The whole text as an integer in low..high; none otherwise.
std::optional<int> integer(std::string_view text, int low, int high) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) return std::nullopt;
    return value;
}

Result<int> parse_k(std::string_view item, std::string_view text) {
    if (auto k = integer(text, 1, kMaxExperts)) return *k;
    return bad_item(item, fmt::format("k is a whole number from 1 to {}", kMaxExperts));
}

Result<float> parse_temperature(std::string_view item, std::string_view text) {
    float value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && value >= kMinTemperature && value <= kMaxTemperature) return value;
    return bad_item(item, fmt::format("temp is a number from {} to {}", kMinTemperature, kMaxTemperature));
}

std::optional<GateRule> rule_named(std::string_view name) {
    for (GateRule rule : {GateRule::kNative, GateRule::kSoft, GateRule::kHard, GateRule::kTopK}) {
        if (name == name_of(rule)) return rule;
    }
    return std::nullopt;
}

Result<GateRule> parse_rule(std::string_view item, std::string_view text) {
    if (auto rule = rule_named(text)) return *rule;
    return bad_item(item, "rule is one of native, soft, hard, topk");
}

Result<WeightRule> parse_weights(std::string_view item, std::string_view text) {
    for (WeightRule rule : {WeightRule::kAsTrained, WeightRule::kSumToOne, WeightRule::kMatchNativeSum}) {
        if (text == name_of(rule)) return rule;
    }
    return bad_item(item, "weights is one of trained, one, native-sum");
}

/// E:E… as ascending distinct numbers.
Result<std::vector<int>> parse_experts(std::string_view item, std::string_view text) {
    std::vector<int> experts;
    for (size_t start = 0; start <= text.size();) {
        const size_t colon = std::min(text.find(':', start), text.size());
        const auto expert = integer(text.substr(start, colon - start), 0, kMaxExperts - 1);
        if (!expert) return bad_item(item, fmt::format("experts are whole numbers from 0 to {} joined by colons", kMaxExperts - 1));
        experts.push_back(*expert);
        start = colon + 1;
    }
    std::sort(experts.begin(), experts.end());
    experts.erase(std::unique(experts.begin(), experts.end()), experts.end());
    return experts;
}

/// `*`, `L` or `L-M`.
Result<std::pair<int, int>> parse_range(std::string_view item, std::string_view text) {
    if (text == "*") return std::pair{0, std::numeric_limits<int>::max()};
    const size_t dash = text.find('-');
    const auto first = integer(text.substr(0, dash), 0, kMaxLayer);
    const auto last = dash == std::string_view::npos ? first : integer(text.substr(dash + 1), 0, kMaxLayer);
    if (first && last && *first <= *last) return std::pair{*first, *last};
    return bad_item(item, fmt::format("a layer range is L, L-M with L <= M, or *; layers are 0 to {}", kMaxLayer));
}

/// The layer item that `key@range` belongs to: the one before if it has the same range and no such key yet, so that what to_text() took
/// apart comes together again.
Policy::LayerItem& layer_item(Policy& policy, std::pair<int, int> range, std::string_view key) {
    if (!policy.layers.empty()) {
        Policy::LayerItem& last = policy.layers.back();
        const bool taken = (key == "rule" && last.rule) || (key == "k" && last.k) || (key == "temp" && last.temperature) ||
                           (key == "mask" && !last.masked.empty()) || (key == "force" && !last.forced.empty());
        if (last.first == range.first && last.last == range.second && !taken) return last;
    }
    Policy::LayerItem& fresh = policy.layers.emplace_back();
    fresh.first = range.first;
    fresh.last = range.second;
    return fresh;
}

Result<void> parse_layer_item(Policy& policy, std::string_view item, std::string_view key, std::string_view range_text,
                              std::string_view value) {
    GS_TRY(auto range, parse_range(item, range_text));
    if (key == "rule") {
        GS_TRY(GateRule rule, parse_rule(item, value));
        layer_item(policy, range, key).rule = rule;
    } else if (key == "k") {
        GS_TRY(int k, parse_k(item, value));
        layer_item(policy, range, key).k = k;
    } else if (key == "temp") {
        GS_TRY(float temperature, parse_temperature(item, value));
        layer_item(policy, range, key).temperature = temperature;
    } else if (key == "mask" || key == "force") {
        GS_TRY(std::vector<int> experts, parse_experts(item, value));
        Policy::LayerItem& target = layer_item(policy, range, key);
        (key == "mask" ? target.masked : target.forced) = std::move(experts);
    } else {
        return bad_item(item, "only rule, k, temp, mask and force take a layer range");
    }
    return {};
}

Result<void> parse_item(Policy& policy, bool& has_rule, std::string_view item) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
        const auto rule = rule_named(item);
        if (!rule) return bad_item(item, "not a rule (native, soft, hard, topk) and not NAME=VALUE");
        policy.rule = *rule;
        has_rule = true;
        return {};
    }
    const std::string_view name = trim(item.substr(0, equals)), value = trim(item.substr(equals + 1));
    if (const size_t at = name.find('@'); at != std::string_view::npos) {
        return parse_layer_item(policy, item, name.substr(0, at), name.substr(at + 1), value);
    }
    if (name == "rule") {
        GS_TRY(policy.rule, parse_rule(item, value));
        has_rule = true;
    } else if (name == "k") {
        GS_TRY(policy.k, parse_k(item, value));
    } else if (name == "temp") {
        GS_TRY(policy.temperature, parse_temperature(item, value));
    } else if (name == "weights") {
        GS_TRY(policy.weight_rule, parse_weights(item, value));
    } else if (name == "mask" || name == "force") {
        return bad_item(item, fmt::format("{0} needs a layer range, for example {0}@3=5:9 or {0}@*=5", name));
    } else {
        return bad_item(item, "unknown name; known are rule, k, temp, weights, mask, force");
    }
    return {};
}

}  // namespace

Result<Policy> Policy::parse(std::string_view text) {
    if (text.size() > kMaxText) return bad_item(text, fmt::format("longer than {} bytes", kMaxText));
    Policy policy;
    bool has_rule = false;
    for (size_t start = 0; start <= text.size();) {
        const size_t comma = std::min(text.find(',', start), text.size());
        const std::string_view item = trim(text.substr(start, comma - start));
        if (item.empty()) return bad_item(text, "an item is empty; write native for the model's own routing");
        GS_TRY_VOID(parse_item(policy, has_rule, item));
        start = comma + 1;
    }
    if (policy.k > 0 && !has_rule) policy.rule = GateRule::kTopK;
    return policy;
}

}  // namespace gs
