#include "engine/ops/cuda/device_routers.h"

#include <algorithm>
#include <vector>

namespace gs::cuda {
namespace {

bool any(const std::vector<uint8_t>& flags) {
    return std::any_of(flags.begin(), flags.end(), [](uint8_t f) { return f != 0; });
}

DeviceRouter device_router(const LayerRouter& layer) {
    const RouterSpec& s = layer.spec;
    const LayerPolicy& p = layer.policy;
    return {.n_experts = s.n_experts, .n_groups = s.n_groups, .n_groups_used = s.n_groups_used, .k = p.experts_per_token(s),
            .native_k = LayerPolicy{}.experts_per_token(s), .score = s.score, .group_score = s.group_score, .weight_rule = p.weight_rule,
             .rule = p.rule, .renormalise = s.renormalise, .select_by_logits = s.select_by_logits, .has_forced = any(p.forced), .has_zeroed = any(p.zeroed),
             .first_k = p.first_k(s), .p = p.p, .tau = p.tau, .noise = p.noise, .seed = p.seed, .layer = p.layer, .norm_floor = s.norm_floor, .norm_epsilon = s.norm_epsilon, .scale = s.scale, .temperature = p.temperature};
}

}  // namespace

/// [L] DeviceRouter, then [L, E] biases of the model and [L, E] of the policy, then [L, E] flags, then all swaps.
void DeviceRouters::set(std::span<const LayerRouter> layers) {
    const size_t n = layers.size(), n_experts = n > 0 ? static_cast<size_t>(layers[0].spec.n_experts) : 0;
    const size_t biases_at = n * sizeof(DeviceRouter), policy_biases_at = biases_at + n * n_experts * sizeof(float);
    const size_t flags_at = policy_biases_at + n * n_experts * sizeof(float);
    size_t swaps_at = (flags_at + n * n_experts + alignof(ExpertSwap) - 1) / alignof(ExpertSwap) * alignof(ExpertSwap), n_bytes = swaps_at;
    for (const LayerRouter& layer : layers) n_bytes += layer.policy.swapped.size() * sizeof(ExpertSwap);
    (void)cudaSetDevice(m_device);
    if (n_bytes > m_block.n_bytes()) m_graphs.clear();
    std::byte* block = m_block.at_least(n_bytes);
    m_routers = nullptr;
    if (!block || n == 0) return;
    std::vector<std::byte> image(n_bytes);
    for (size_t l = 0; l < n; ++l) {
        const LayerRouter& layer = layers[l];
        DeviceRouter router = device_router(layer);
        const size_t bias_at = biases_at + l * n_experts * sizeof(float), flag_at = flags_at + l * n_experts;
        if (!layer.selection_bias.empty()) {
            std::memcpy(image.data() + bias_at, layer.selection_bias.data(), layer.selection_bias.size_bytes());
            router.bias = reinterpret_cast<const float*>(block + bias_at);
        }
        if (!layer.policy.bias.empty()) {
            const size_t at = policy_biases_at + l * n_experts * sizeof(float);
            std::memcpy(image.data() + at, layer.policy.bias.data(), layer.policy.bias.size() * sizeof(float));
            router.policy_bias = reinterpret_cast<const float*>(block + at);
        }
        const auto mark = [&](const std::vector<uint8_t>& which, uint8_t flag) {
            for (size_t e = 0; e < which.size(); ++e)
                if (which[e] != 0) image[flag_at + e] |= static_cast<std::byte>(flag);
        };
        mark(layer.policy.masked, kMasked);
        mark(layer.policy.forced, kForced);
        mark(layer.policy.zeroed, kZeroed);
        if (const std::vector<ExpertSwap>& swaps = layer.policy.swapped; !swaps.empty()) {
            std::memcpy(image.data() + swaps_at, swaps.data(), swaps.size() * sizeof(ExpertSwap));
            router.swaps = reinterpret_cast<const ExpertSwap*>(block + swaps_at);
            router.n_swaps = static_cast<int>(swaps.size());
            swaps_at += swaps.size() * sizeof(ExpertSwap);
        }
        router.flags = reinterpret_cast<const uint8_t*>(block + flag_at);
        std::memcpy(image.data() + l * sizeof router, &router, sizeof router);
    }
    m_ring.send_to(block, image.data(), n_bytes);
    m_routers = reinterpret_cast<const DeviceRouter*>(block);
}

}  // namespace gs::cuda
