#include "engine/routing/router_math.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/routing/vec4.h"

namespace gs {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = -0x1.fffffcp127f;  // what -inf becomes: one step above what NaN becomes, which comes last

/// out = logits / temperature, finite; true when something had to be replaced.
bool scale_logits(std::span<const float> logits, float temperature, std::span<float> out) {
    // x * 0 is 0 for finite x and NaN otherwise; the sum tells in one pass whether the careful loop is needed.
    F4 probe = splat4(0);
    size_t i = 0;
    const size_t n = logits.size();
    for (; i + 4 <= n; i += 4) {
        const F4 z = load4(logits.data() + i);
        probe += z * 0.0f;
        store4(out.data() + i, z);
    }
    for (; i < n; ++i) {
        probe[0] += logits[i] * 0.0f;
        out[i] = logits[i];
    }
    const bool finite = sum_lanes(probe) == 0;
    if (!finite || temperature != 1.0f) {
        for (size_t e = 0; e < n; ++e) out[e] = scaled_logit(logits[e], temperature);
    }
    return !finite;
}

}  // namespace

float scaled_logit(float logit, float temperature) {
    if (std::isnan(logit)) return -kLargest;
    return std::clamp(temperature == 1.0f ? logit : logit / temperature, kSmallest, kLargest);
}

void softmax_in_place(std::span<float> values) {
    F4 top = splat4(-kLargest), sum = splat4(0);
    each4(values, -kLargest, [&](F4 v) { return top = larger(top, v), v; });
    const float largest = largest_lane(top);
    // Lanes beyond the end: exp of the lowest less the largest is 0, unless all values are that low.
    const size_t n_extra = (4 - values.size() % 4) % 4;
    each4(values, -kLargest, [&](F4 v) {
        v = exp_nonpositive(v - largest);
        sum += v;
        return v;
    });
    const float extra = largest == -kLargest ? static_cast<float>(n_extra) : 0.0f;
    const float inverse = 1.0f / (sum_lanes(sum) - extra);
    each4(values, 0, [&](F4 v) { return v * inverse; });
}

bool scores_of(ScoreFn score, std::span<const float> logits, float temperature, std::span<float> out) {
    const bool replaced = scale_logits(logits, temperature, out);
    switch (score) {
        case ScoreFn::kSoftmax:
        case ScoreFn::kSoftmaxAfterTopK:
        case ScoreFn::kSparseMixer: softmax_in_place(out); break;
        case ScoreFn::kSigmoid:
            each4(out, 0, [](F4 x) {
                const F4 e = exp_nonpositive(x < 0.0f ? x : -x);  // of -|x|: never overflows
                return (x < 0.0f ? e : splat4(1.0f)) / (1.0f + e);
            });
            break;
        case ScoreFn::kSqrtSoftplus:
            for (float& x : out) x = std::sqrt(std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))));
            break;
    }
    return replaced;
}

}  // namespace gs
