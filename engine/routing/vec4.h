// Four floats at a time, in the compiler's own vector type: one instruction on any x86-64 or ARM64, and the same bits on both since nothing
// is fused or reordered behind our back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

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

}  // namespace gs
