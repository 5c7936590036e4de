// Rounding of activations for the integer products: the same integers on every instruction set.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/ops/cpu/kernels.h"

namespace gs::cpu {

/// The largest magnitude after rounding: 127 * 128, so that q = 128 h + l with h in -127..127 and l in -64..63 (two int8 terms).
constexpr float kLargestRounded = 127 * 128;

struct RoundedBlock {
    float scale;    ///< x ≈ scale * q; not a number when x holds NaN or infinity, so that they are not lost
    int32_t sum;    ///< Σ q
};

inline RoundedBlock round_block(const float* x, int16_t* q) {
    float largest = 0, probe = 0;
    for (int i = 0; i < kBlock; ++i) {
        largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
        probe += x[i] * 0.0f;
    }
    const float inverse = largest > 1e-30f && largest < 3e38f ? kLargestRounded / largest : 0.0f;
    // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the sum: rounding without a call, and it vectorises.
    constexpr float kMagic = 12582912.0f;
    int32_t sum = 0;
    for (int i = 0; i < kBlock; ++i) {
        const auto v = static_cast<int32_t>((x[i] * inverse + kMagic) - kMagic);
        q[i] = static_cast<int16_t>(v);
        sum += v;
    }
    return {largest / kLargestRounded + probe, sum};
}

}  // namespace gs::cpu
