#include "engine/run/k_grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "engine/core/check.h"

namespace gs {

static Error bad_k(std::string why) { return {ErrorKind::kUsage, "bad_k", "The values of k", std::move(why), "For example all, or 1,2,4-6"}; }

std::vector<int> default_k_grid(const RouterSpec& spec) {
    const int n = spec.n_experts, native = spec.n_used;
    std::vector<int> ks;
    for (int k = 1; k <= (n <= 8 ? n : std::min(native, 8)); ++k) ks.push_back(k);
    for (const int k : {native, native * 3 / 2, native * 2, native * 4})
        if (n > 8 && k <= n && k > ks.back()) ks.push_back(k);
    return ks;
}

Result<std::vector<int>> parse_k_grid(const std::string& text, int n_experts) {
    std::vector<int> ks;
    if (text == "all") {
        for (int k = 1; k <= n_experts; ++k) ks.push_back(k);
        return ks;
    }
    const char* at = text.data();
    const char* const end = text.data() + text.size();
    const auto number = [&](int& value) {
        const auto [next, error] = std::from_chars(at, end, value);
        at = next;
        return error == std::errc() && value >= 1 && value <= n_experts;
    };
    for (;;) {
        const char* const item = at;
        int first = 0, last = 0;
        bool ok = number(first);
        last = first;
        if (ok && at != end && *at == '-') {
            ++at;
            ok = number(last) && first <= last;
        }
        ok = ok && (at == end || *at == ',');
        if (!ok) return bad_k(fmt::format("\"{}\" is not a k or a range of them within 1..{}, the experts of this model", std::string(item, std::find(item, end, ',')), n_experts));
        for (int k = first; k <= last; ++k) ks.push_back(k);
        if (at == end) break;
        ++at;
    }
    return ks;
}

Result<void> check_ks(std::span<const int> ks, int n_experts) {
    for (const int k : ks)
        if (k < 1 || k > n_experts) return bad_k(fmt::format("{} is outside 1..{}, the experts of this model", k, n_experts));
    return {};
}

int k_of(const Policy& policy, const RouterSpec& spec, int layer) { return policy.for_layer(layer, spec.n_experts).experts_per_token(spec); }

Policy with_uniform_k(const Policy& base, int k) {
    Policy policy = base;
    policy.rule = GateRule::kTopK;
    policy.k = k;
    for (Policy::LayerItem& item : policy.layers) item.rule.reset(), item.k.reset(), item.p.reset(), item.tau.reset();
    std::erase_if(policy.layers, [](const Policy::LayerItem& item) { return item == Policy::LayerItem{.first = item.first, .last = item.last}; });
    return policy;
}

Policy with_layer_ks(const Policy& base, const RouterSpec& spec, std::span<const int> layers, std::span<const int> ks) {
    GS_CHECK(layers.size() == ks.size(), "one k for every layer");
    Policy policy = base;
    bool may_join = false;                       // the item before is ours, of the layer before
    for (size_t i = 0; i < layers.size(); ++i) {
        const bool changes = ks[i] != k_of(base, spec, layers[i]);
        if (changes && may_join && policy.layers.back().k == ks[i])
            policy.layers.back().last = layers[i];
        else if (changes)
            policy.layers.push_back({.first = layers[i], .last = layers[i], .rule = std::nullopt, .k = ks[i], .temperature = std::nullopt, .masked = {}, .forced = {}});
        may_join = changes;
    }
    return policy;
}

}  // namespace gs
