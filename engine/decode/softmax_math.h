// Internal to the engine: exp in f64 from additions and multiplications only, so that scores are the same on every machine (libm differs in
// the last bit between versions and processors), written without branches so that the compiler vectorises it.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

namespace gs {

/// exp(x) for x <= 0, within 4 ulp; below -700 as exp(-700), which is about 1e-304. NaN is not allowed.
inline double exp_nonpositive(double x) {
    constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa0000p-1, kLn2Low = 0x1.cf79abc9e3b3ap-40;
    constexpr double kRound = 6755399441055744.0;   // 1.5 * 2^52: adding it leaves the nearest integer in the low mantissa bits
    x = x < -700.0 ? -700.0 : x;
    const double shifted = x * kLog2e + kRound;
    const double n = shifted - kRound;
    const double r = (x - n * kLn2High) - n * kLn2Low;   // |r| <= ln2 / 2
    // Taylor to the 13th power: the next term is under 2^-53 for |r| <= 0.3466.
    double sum = 1.0 / 6227020800.0;
    constexpr double kFactorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    for (const double factorial : kFactorials) sum = sum * r + 1.0 / factorial;
    const auto bits = std::bit_cast<uint64_t>(sum) + (std::bit_cast<uint64_t>(shifted) << 52);
    return std::bit_cast<double>(bits);
}

/// The same in f32 for an array: within 2 ulp, 0 below -87.3. Cephes' expf polynomial, four values at a time even without AVX.
inline void exp_nonpositive(std::span<float> values) {
    for (float& value : values) {
        constexpr float kRound = 12582912.0f, kLowest = -87.3f;   // 1.5 * 2^23
        const float x = value < kLowest ? kLowest : value;
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
        const float e = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(shifted) << 23));
        value = value < kLowest ? 0.0f : e;
    }
}

}  // namespace gs
