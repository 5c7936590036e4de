// The k best of E scores, fast: it runs once per token and layer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gs {

constexpr int kMaxRouterExperts = 1024;

/// Appends to ids the k best scores, best first; equal ones by lower index. -inf is never taken, so there may be fewer. scores: [E], E <=
/// 1024, no NaN. Does not allocate where ids has the capacity.
void append_best(std::span<const float> scores, int k, std::vector<int32_t>& ids);

}  // namespace gs
