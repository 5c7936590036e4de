// Which experts are ablated: as text, as a policy, and which others they are compared with.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <random>
#include <set>

#include "engine/run/ablation.h"

namespace gs {
namespace {

constexpr size_t kSmallestPool = 4;              // nearest in usage that stand in where too few are near

Error bad_expert(std::string why) {
    return {ErrorKind::kUsage, "bad_expert", "The experts to ablate", std::move(why), "Write LAYER:EXPERT, several joined by commas, for example 7:3,9:1, or 7:3>5 for a swap"};
}

std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
}

Result<AblatedExpert> parse_one(std::string_view item, AblationMode mode, int swap_to) {
    const size_t colon = item.find(':'), arrow = item.find('>');
    const auto layer = colon == std::string_view::npos ? std::nullopt : number(item.substr(0, colon));
    const auto expert = layer ? number(item.substr(colon + 1, arrow == std::string_view::npos ? arrow : arrow - colon - 1)) : std::nullopt;
    const auto to = arrow == std::string_view::npos ? std::nullopt : number(item.substr(arrow + 1));
    if (!layer || !expert || (arrow != std::string_view::npos && !to)) return bad_expert(fmt::format("\"{}\" is not LAYER:EXPERT", item.substr(0, 40)));
    if (to && mode != AblationMode::kSwap) return bad_expert(fmt::format("\"{}\" names another expert, which only a swap does", item.substr(0, 40)));
    if (mode == AblationMode::kSwap && !to && swap_to < 0) return bad_expert(fmt::format("\"{}\" does not say which expert runs in its place", item.substr(0, 40)));
    return AblatedExpert{*layer, *expert, mode, mode == AblationMode::kSwap ? to.value_or(swap_to) : -1};
}

/// Puts a list into the last item where that is the layer's own and lacks one, else into a new item: as the text form is read.
template <class List>
void place(Policy& policy, int layer, List Policy::LayerItem::*key, List list) {
    if (list.empty()) return;
    const bool joins = !policy.layers.empty() && policy.layers.back().first == layer && policy.layers.back().last == layer && (policy.layers.back().*key).empty();
    Policy::LayerItem& item = joins ? policy.layers.back() : policy.layers.emplace_back();
    item.first = item.last = layer;
    item.*key = std::move(list);
}

/// Ascending experts of one layer and mode.
std::vector<int> experts_of(const std::vector<AblatedExpert>& experts, int layer, AblationMode mode) {
    std::vector<int> out;
    for (const AblatedExpert& e : experts)
        if (e.layer == layer && e.mode == mode) out.push_back(e.expert);
    std::sort(out.begin(), out.end());
    return out;
}

/// Experts of the layer that may stand for `target`, nearest in usage first.
std::vector<int> by_usage(const std::vector<int64_t>& use, const std::vector<AblatedExpert>& experts, const AblatedExpert& target) {
    std::vector<int> order;
    for (int e = 0; e < static_cast<int>(use.size()); ++e) {
        const bool taken = e == target.swap_to || std::any_of(experts.begin(), experts.end(), [&](const AblatedExpert& a) { return a.layer == target.layer && a.expert == e; });
        if (!taken) order.push_back(e);
    }
    const int64_t wanted = use[static_cast<size_t>(target.expert)];
    const auto distance = [&](int e) { return std::abs(use[static_cast<size_t>(e)] - wanted); };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return distance(a) < distance(b); });
    return order;
}

/// Sets of one expert from each pool, all different.
std::vector<std::vector<AblatedExpert>> draw_sets(const std::vector<std::vector<int>>& pools, const std::vector<AblatedExpert>& experts, int n, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::vector<AblatedExpert>> sets;
    std::set<std::vector<std::pair<int, int>>> seen;   // as members of a set have no order
    for (int attempt = 0; attempt < 64 * n && static_cast<int>(sets.size()) < n; ++attempt) {
        std::vector<AblatedExpert> set = experts;
        std::vector<std::pair<int, int>> key;
        for (size_t i = 0; i < set.size(); ++i) {
            set[i].expert = pools[i][random() % pools[i].size()];
            key.emplace_back(set[i].layer, set[i].expert);
        }
        std::sort(key.begin(), key.end());
        if (std::adjacent_find(key.begin(), key.end()) == key.end() && seen.insert(key).second) sets.push_back(std::move(set));
    }
    return sets;
}

}  // namespace

const char* name_of(AblationMode mode) {
    constexpr std::array names = {"zero", "around", "swap"};
    return names[static_cast<size_t>(mode)];
}

std::string AblatedExpert::to_text() const {
    return mode == AblationMode::kSwap ? fmt::format("{}:{}>{}", layer, expert, swap_to) : fmt::format("{}:{}", layer, expert);
}

Result<std::vector<AblatedExpert>> parse_ablated(const std::string& text, AblationMode mode, int swap_to) {
    std::vector<AblatedExpert> experts;
    for (size_t start = 0; start <= text.size();) {
        const size_t comma = std::min(text.find(',', start), text.size());
        GS_TRY(const AblatedExpert one, parse_one(std::string_view(text).substr(start, comma - start), mode, swap_to));
        experts.push_back(one);
        start = comma + 1;
    }
    return experts;
}

Result<void> check_ablated(const std::vector<AblatedExpert>& experts, const ModelSpec& spec) {
    if (experts.empty()) return bad_expert("none is named");
    const auto is_ablated = [&](int layer, int expert) {
        return std::count_if(experts.begin(), experts.end(), [&](const AblatedExpert& e) { return e.layer == layer && e.expert == expert; });
    };
    const auto exists = [&](int expert) { return expert >= 0 && expert < spec.router.n_experts; };
    for (const AblatedExpert& e : experts) {
        if (!std::binary_search(spec.moe_layers.begin(), spec.moe_layers.end(), e.layer))
            return bad_expert(fmt::format("layer {} is no MoE layer of this model", e.layer));
        if (!exists(e.expert)) return bad_expert(fmt::format("{} names expert {}, but the experts are 0..{}", e.to_text(), e.expert, spec.router.n_experts - 1));
        if (is_ablated(e.layer, e.expert) > 1) return bad_expert(fmt::format("{}:{} is named twice", e.layer, e.expert));
        if (e.mode != AblationMode::kSwap) continue;
        if (!exists(e.swap_to)) return bad_expert(fmt::format("{} names expert {}, but the experts are 0..{}", e.to_text(), e.swap_to, spec.router.n_experts - 1));
        if (is_ablated(e.layer, e.swap_to) > 0) return bad_expert(fmt::format("{}: the one that is to run instead is ablated itself", e.to_text()));
    }
    return {};
}

Policy with_ablation(const Policy& base, const std::vector<AblatedExpert>& experts) {
    Policy policy = base;
    std::vector<int> layers;
    for (const AblatedExpert& e : experts)
        if (std::find(layers.begin(), layers.end(), e.layer) == layers.end()) layers.push_back(e.layer);
    for (const int layer : layers) {
        std::vector<ExpertSwap> swaps;
        for (const AblatedExpert& e : experts)
            if (e.layer == layer && e.mode == AblationMode::kSwap) swaps.push_back({e.expert, e.swap_to});
        place(policy, layer, &Policy::LayerItem::masked, experts_of(experts, layer, AblationMode::kRouteAround));
        place(policy, layer, &Policy::LayerItem::zeroed, experts_of(experts, layer, AblationMode::kZero));
        place(policy, layer, &Policy::LayerItem::swapped, std::move(swaps));
    }
    return policy;
}

Policy without_ablation(const Policy& policy, const std::vector<AblatedExpert>& experts) {
    Policy out = policy;
    for (Policy::LayerItem& item : out.layers)
        for (const AblatedExpert& e : experts) {
            if (item.first != e.layer || item.last != e.layer) continue;
            if (e.mode == AblationMode::kZero) std::erase(item.zeroed, e.expert);
            if (e.mode == AblationMode::kRouteAround) std::erase(item.masked, e.expert);
            if (e.mode == AblationMode::kSwap) std::erase(item.swapped, ExpertSwap{e.expert, e.swap_to});
        }
    std::erase_if(out.layers, [](const Policy::LayerItem& item) { return item == Policy::LayerItem{.first = item.first, .last = item.last}; });
    return out;
}

std::vector<AblatedExpert> ablated_in(const Policy& policy) {
    std::vector<AblatedExpert> experts;
    for (const Policy::LayerItem& item : policy.layers) {
        if (item.first != item.last) continue;
        for (const int e : item.zeroed) experts.push_back({item.first, e, AblationMode::kZero, -1});
        for (const int e : item.masked) experts.push_back({item.first, e, AblationMode::kRouteAround, -1});
        for (const ExpertSwap& swap : item.swapped) experts.push_back({item.first, swap.from, AblationMode::kSwap, swap.to});
    }
    return experts;
}

ControlDraw draw_controls(const std::vector<std::vector<int64_t>>& use, std::span<const int> moe_layers, const std::vector<AblatedExpert>& experts, int n, uint64_t seed) {
    ControlDraw draw;
    if (n <= 0) return draw;
    std::vector<std::vector<int>> pools;
    for (const AblatedExpert& target : experts) {
        const auto m = static_cast<size_t>(std::lower_bound(moe_layers.begin(), moe_layers.end(), target.layer) - moe_layers.begin());
        const std::vector<int64_t>& counts = use[m];
        std::vector<int> order = by_usage(counts, experts, target);
        const auto wanted = static_cast<double>(counts[static_cast<size_t>(target.expert)]), reach = std::max(0.25 * wanted, 2 * std::sqrt(wanted));
        const auto used = [&](int e) { return counts[static_cast<size_t>(e)]; };
        const auto near = static_cast<size_t>(std::count_if(order.begin(), order.end(), [&](int e) { return std::abs(static_cast<double>(used(e)) - wanted) <= reach; }));
        order.resize(std::min(order.size(), std::max(near, kSmallestPool)));
        if (order.empty()) {
            draw.note = fmt::format("Layer {} has no other expert to compare with.", target.layer);
            return draw;
        }
        if (near < order.size()) {
            const auto [low, high] = std::minmax_element(order.begin(), order.end(), [&](int a, int b) { return used(a) < used(b); });
            draw.note += fmt::format("{}Expert {} of layer {} is used by {} tokens; {} other{} used nearly as often, so the {} nearest stand in ({} to {} tokens).",
                                     draw.note.empty() ? "" : " ", target.expert, target.layer, used(target.expert), near == 0 ? "no" : fmt::format("only {}", near),
                                     near == 1 ? " is" : "s are", order.size(), used(*low), used(*high));
        }
        pools.push_back(std::move(order));
    }
    draw.sets = draw_sets(pools, experts, n, seed);
    if (static_cast<int>(draw.sets.size()) < n)
        draw.note += fmt::format("{}There are {} such controls, not {}.", draw.note.empty() ? "" : " ", draw.sets.size(), n);
    return draw;
}

}  // namespace gs
