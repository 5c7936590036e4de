// Which values of k are measured, and the policies that use them: a policy with another k in every layer, or in some.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/routing/policy.h"

namespace gs {

/// Every k up to 8 experts; of more: 1 to the native k (8 of them at most), then 1.5, 2 and 4 times it.
std::vector<int> default_k_grid(const RouterSpec& spec);
/// "all", or a list: "1,2,4-6". Errors: kUsage "bad_k" with the item.
Result<std::vector<int>> parse_k_grid(const std::string& text, int n_experts);
/// Errors: kUsage "bad_k" where one is outside 1..n_experts.
Result<void> check_ks(std::span<const int> ks, int n_experts);

/// Experts that a token uses in a layer (blk.N).
int k_of(const Policy& policy, const RouterSpec& spec, int layer);
/// The best k experts in every layer; what else `base` says is kept: weight rule, temperatures, noise, biases, masks, forces, zeros, swaps.
Policy with_uniform_k(const Policy& base, int k);
/// `base` with layer i of `layers` (blk.N of consecutive MoE layers) at ks[i], in the fewest items; where that is the base's own k nothing is written.
Policy with_layer_ks(const Policy& base, const RouterSpec& spec, std::span<const int> layers, std::span<const int> ks);

}  // namespace gs
