#include "engine/routing/router_math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace gs {
namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kSmallest = -0x1.fffffcp127f;  // what -inf becomes: one step above what NaN becomes, which comes last

/// Cephes' expf: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial of degree 7 in r, and n added to the exponent bits. No branch and no
/// call, so that loops over it become vector code at the baseline instruction set.
inline float exp_of(float x) {
    constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    x = x < -87.3f ? -87.3f : x;
    const float shifted = x * 1.44269504088896341f + kRound;
    const float n = shifted - kRound;
    const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;  // n modulo 2^9, moved to the exponent field
    return std::bit_cast<float>(std::bit_cast<uint32_t>(p) + exponent);
}

// Four running values: the reduction has no long dependency chain, and its order does not depend on the instruction set.
float largest(std::span<const float> v) {
    float m[4] = {-kLargest, -kLargest, -kLargest, -kLargest};
    size_t i = 0;
    for (; i + 4 <= v.size(); i += 4) {
        for (size_t j = 0; j < 4; ++j) m[j] = v[i + j] > m[j] ? v[i + j] : m[j];
    }
    for (; i < v.size(); ++i) m[0] = v[i] > m[0] ? v[i] : m[0];
    return std::max(std::max(m[0], m[1]), std::max(m[2], m[3]));
}
float total(std::span<const float> v) {
    float s[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= v.size(); i += 4) {
        for (size_t j = 0; j < 4; ++j) s[j] += v[i + j];
    }
    for (; i < v.size(); ++i) s[0] += v[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/// out = logits / temperature, finite; true when something had to be replaced.
bool scale_logits(std::span<const float> logits, float temperature, std::span<float> out) {
    // x * 0 is 0 for finite x and NaN otherwise; the sum tells in one pass whether the careful loop is needed.
    float probe[4] = {0, 0, 0, 0};
    const size_t n = logits.size();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t j = 0; j < 4; ++j) probe[j] += logits[i + j] * 0.0f;
    }
    for (; i < n; ++i) probe[0] += logits[i] * 0.0f;
    const bool finite = probe[0] == 0 && probe[1] == 0 && probe[2] == 0 && probe[3] == 0;
    if (finite && temperature == 1.0f) {
        std::copy(logits.begin(), logits.end(), out.begin());
        return false;
    }
    for (size_t e = 0; e < n; ++e) out[e] = scaled_logit(logits[e], temperature);
    return !finite;
}

}  // namespace

float scaled_logit(float logit, float temperature) {
    if (std::isnan(logit)) return -kLargest;
    return std::clamp(temperature == 1.0f ? logit : logit / temperature, kSmallest, kLargest);
}

void exp_nonpositive(std::span<float> values) {
    float* v = values.data();
    const size_t n = values.size();
    for (size_t i = 0; i < n; ++i) v[i] = v[i] < -87.3f ? 0.0f : exp_of(v[i]);
}

void softmax_in_place(std::span<float> values) {
    const float top = largest(values);
    float* v = values.data();
    const size_t n = values.size();
    for (size_t i = 0; i < n; ++i) v[i] -= top;
    exp_nonpositive(values);
    const float inverse = 1.0f / total(values);
    for (size_t i = 0; i < n; ++i) v[i] *= inverse;
}

bool scores_of(ScoreFn score, std::span<const float> logits, float temperature, std::span<float> out) {
    const bool replaced = scale_logits(logits, temperature, out);
    switch (score) {
        case ScoreFn::kSoftmax:
        case ScoreFn::kSoftmaxAfterTopK: softmax_in_place(out); break;
        case ScoreFn::kSigmoid:
            for (float& x : out) {
                const float e = x < -87.3f || x > 87.3f ? 0.0f : exp_of(-std::fabs(x));
                x = (x < 0 ? e : 1.0f) / (1.0f + e);
            }
            break;
        case ScoreFn::kSqrtSoftplus:
            for (float& x : out) x = std::sqrt(std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))));
            break;
    }
    return replaced;
}

}  // namespace gs
