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
            "Items are rule, k, p, tau, temp, noise, seed, capacity, weights, and with a layer range rule@R, k@R, p@R, tau@R, temp@R, noise@R, mask@R, force@R, "
            "zero@R, swap@R, bias@R, for example k=2,k@4-7=1"};
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

/// The whole text as a number in low..high, -0 as 0; none otherwise.
std::optional<float> number(std::string_view text, float low, float high) {
    float value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    return whole && value >= low && value <= high ? std::optional(value + 0.0f) : std::nullopt;
}

/// The numbers that a policy and its layers may have.
struct NumberRange {
    std::string_view name;
    float low, high;
};
constexpr NumberRange kNumbers[] = {{"temp", kMinTemperature, kMaxTemperature}, {"p", kMinP, 1}, {"tau", 0, 1}, {"noise", 0, kMaxNoise}, {"capacity", kMinCapacity, kMaxCapacity}};

const NumberRange* number_named(std::string_view name) {
    const auto* found = std::find_if(std::begin(kNumbers), std::end(kNumbers), [&](const NumberRange& n) { return n.name == name; });
    return found == std::end(kNumbers) ? nullptr : found;
}

Result<float> parse_number(std::string_view item, const NumberRange& range, std::string_view text) {
    if (const auto value = number(text, range.low, range.high)) return *value;
    return bad_item(item, fmt::format("{} is a number from {} to {}", range.name, range.low, range.high));
}

Result<uint32_t> parse_seed(std::string_view item, std::string_view text) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
    return bad_item(item, "seed is a whole number from 0 to 4294967295");
}

std::optional<GateRule> rule_named(std::string_view name) {
    for (GateRule rule : kAllRules) {
        if (name == name_of(rule)) return rule;
    }
    return std::nullopt;
}

Result<GateRule> parse_rule(std::string_view item, std::string_view text) {
    if (auto rule = rule_named(text)) return *rule;
    return bad_item(item, "rule is one of native, soft, hard, topk, topp, threshold, expert-choice");
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

/// E+X:E-X… by expert; of one named twice the last.
Result<std::vector<Policy::ExpertBias>> parse_bias(std::string_view item, std::string_view text) {
    std::vector<Policy::ExpertBias> out;
    for (size_t start = 0; start <= text.size();) {
        const size_t colon = std::min(text.find(':', start), text.size());
        const std::string_view one = text.substr(start, colon - start);
        const size_t sign = std::min(one.find_first_of("+-"), one.size());
        const auto expert = integer(one.substr(0, sign), 0, kMaxExperts - 1);
        const std::string_view amount = one.substr(sign < one.size() && one[sign] == '+' ? sign + 1 : sign);
        const auto bias = amount.starts_with('+') || (sign < one.size() && one[sign] == '+' && amount.starts_with('-')) ? std::nullopt : number(amount, -kMaxBias, kMaxBias);
        if (!expert || !bias) return bad_item(item, fmt::format("biases are an expert, 0 to {}, and + or - a number up to {}, joined by colons: 5+0.1:9-0.05", kMaxExperts - 1, kMaxBias));
        std::erase_if(out, [&](const Policy::ExpertBias& b) { return b.expert == *expert; });
        out.push_back({*expert, *bias});
        start = colon + 1;
    }
    std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.expert < b.expert; });
    return out;
}

/// A>B:C>D… in the order given.
Result<std::vector<ExpertSwap>> parse_swaps(std::string_view item, std::string_view text) {
    std::vector<ExpertSwap> swaps;
    for (size_t start = 0; start <= text.size();) {
        const size_t colon = std::min(text.find(':', start), text.size());
        const std::string_view pair = text.substr(start, colon - start);
        const size_t arrow = pair.find('>');
        const auto from = integer(pair.substr(0, arrow), 0, kMaxExperts - 1);
        const auto to = arrow == std::string_view::npos ? std::nullopt : integer(pair.substr(arrow + 1), 0, kMaxExperts - 1);
        if (!from || !to || *from == *to) return bad_item(item, "swaps are A>B joined by colons: two different experts, B runs where A is chosen");
        swaps.push_back({*from, *to});
        start = colon + 1;
    }
    return swaps;
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
                           (key == "mask" && !last.masked.empty()) || (key == "force" && !last.forced.empty()) || (key == "p" && last.p) ||
                           (key == "tau" && last.tau) || (key == "noise" && last.noise) || (key == "bias" && !last.bias.empty()) ||
                           (key == "zero" && !last.zeroed.empty()) || (key == "swap" && !last.swapped.empty());
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
    } else if (const NumberRange* known = number_named(key); known && key != "capacity") {
        GS_TRY(float x, parse_number(item, *known, value));
        Policy::LayerItem& target = layer_item(policy, range, key);
        (key == "p" ? target.p : key == "tau" ? target.tau : key == "noise" ? target.noise : target.temperature) = x;
    } else if (key == "bias") {
        GS_TRY(std::vector<Policy::ExpertBias> bias, parse_bias(item, value));
        layer_item(policy, range, key).bias = std::move(bias);
    } else if (key == "mask" || key == "force" || key == "zero") {
        GS_TRY(std::vector<int> experts, parse_experts(item, value));
        Policy::LayerItem& target = layer_item(policy, range, key);
        (key == "mask" ? target.masked : key == "force" ? target.forced : target.zeroed) = std::move(experts);
    } else if (key == "swap") {
        GS_TRY(std::vector<ExpertSwap> swaps, parse_swaps(item, value));
        layer_item(policy, range, key).swapped = std::move(swaps);
    } else {
        return bad_item(item, "only rule, k, p, tau, temp, noise, mask, force, zero, swap and bias take a layer range");
    }
    return {};
}

/// Which of the names that say a rule, or imply one, have come.
struct Named {
    bool rule = false, p = false, tau = false;
};

Result<void> parse_item(Policy& policy, Named& named, std::string_view item) {
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
        const auto rule = rule_named(item);
        if (!rule) return bad_item(item, "not a rule (native, soft, hard, topk, topp, threshold, expert-choice) and not NAME=VALUE");
        policy.rule = *rule;
        named.rule = true;
        return {};
    }
    const std::string_view name = trim(item.substr(0, equals)), value = trim(item.substr(equals + 1));
    if (const size_t at = name.find('@'); at != std::string_view::npos) {
        return parse_layer_item(policy, item, name.substr(0, at), name.substr(at + 1), value);
    }
    if (name == "rule") {
        GS_TRY(policy.rule, parse_rule(item, value));
        named.rule = true;
    } else if (name == "k") {
        GS_TRY(policy.k, parse_k(item, value));
    } else if (const NumberRange* known = number_named(name)) {
        float& target = name == "p" ? policy.p : name == "tau" ? policy.tau : name == "noise" ? policy.noise : name == "capacity" ? policy.capacity : policy.temperature;
        GS_TRY(target, parse_number(item, *known, value));
        named.p = named.p || name == "p";
        named.tau = named.tau || name == "tau";
    } else if (name == "seed") {
        GS_TRY(policy.seed, parse_seed(item, value));
    } else if (name == "weights") {
        GS_TRY(policy.weight_rule, parse_weights(item, value));
    } else if (name == "mask" || name == "force" || name == "zero" || name == "bias") {
        return bad_item(item, fmt::format("{0} needs a layer range, for example {0}@3=5{1} or {0}@*=5{1}", name, name == "bias" ? "+0.1" : ""));
    } else if (name == "swap") {
        return bad_item(item, "swap needs a layer range, for example swap@3=5>9");
    } else {
        return bad_item(item, "unknown name; known are rule, k, p, tau, temp, noise, seed, capacity, weights, mask, force, zero, swap, bias");
    }
    return {};
}

}  // namespace

Result<Policy> Policy::parse(std::string_view text) {
    if (text.size() > kMaxText) return bad_item(text, fmt::format("longer than {} bytes", kMaxText));
    Policy policy;
    Named named;
    for (size_t start = 0; start <= text.size();) {
        const size_t comma = std::min(text.find(',', start), text.size());
        const std::string_view item = trim(text.substr(start, comma - start));
        if (item.empty()) return bad_item(text, "an item is empty; write native for the model's own routing");
        GS_TRY_VOID(parse_item(policy, named, item));
        start = comma + 1;
    }
    if (!named.rule) policy.rule = implied_rule(named.tau, named.p, policy.k > 0).value_or(GateRule::kNative);
    return policy;
}

}  // namespace gs
