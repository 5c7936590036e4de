#include "engine/routing/router_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/routing/vec4.h"

namespace gs {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = -0x1.fffffcp127f;  // what -inf becomes: one step above what NaN becomes, which comes last

/// Cephes' expf for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 7 in r, and n added to the exponent bits. Within 2
/// ulp; 0 below -87.3, where single precision would turn subnormal.
inline F4 exp_nonpositive(F4 x) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    const I4 in_range = x >= splat4(-87.3f);
    x = larger(x, splat4(-87.3f));
    const F4 shifted = x * 1.44269504088896341f + kRound;
    const F4 n = shifted - kRound;
    const F4 r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    F4 p = splat4(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // n modulo 2^9, moved to the exponent field; a lane out of range becomes all zero bits.
    return std::bit_cast<F4>((std::bit_cast<I4>(p) + (std::bit_cast<I4>(shifted) << 23)) & in_range);
}

/// Applies f to every four values; the lanes beyond the end hold `fill` and are dropped.
template <class F>
inline void each4(std::span<float> values, float fill, F f) {
    float* v = values.data();
    const size_t n = values.size();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) store4(v + i, f(load4(v + i)));
    if (i < n) store_part(v + i, n - i, f(load_part(v + i, n - i, fill)));
}

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
