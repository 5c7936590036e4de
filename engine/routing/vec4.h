// Four floats at a time, in the compiler's own vector type: one instruction on any x86-64 or ARM64, and the same bits on both since nothing
// is fused or reordered behind our back.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace gs {

using F4 = float __attribute__((vector_size(16)));
using I4 = int32_t __attribute__((vector_size(16)));

inline F4 splat4(float x) { return F4{x, x, x, x}; }
inline F4 load4(const float* p) {
    F4 v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
inline void store4(float* p, F4 v) { std::memcpy(p, &v, sizeof v); }
/// The first n < 4 values, the other lanes filled.
inline F4 load_part(const float* p, size_t n, float fill) {
    F4 v = splat4(fill);
    for (size_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
}
inline void store_part(float* p, size_t n, F4 v) {
    for (size_t i = 0; i < n; ++i) p[i] = v[i];
}
inline F4 larger(F4 a, F4 b) { return a > b ? a : b; }
inline float largest_lane(F4 v) {
    const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
    return a > b ? a : b;
}
inline float sum_lanes(F4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }

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

}  // namespace gs
