// binary16: a storage type and its conversions, which round to nearest even.
#pragma once

#include "engine/model/tensor_type.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

struct __half_raw { unsigned short x; };
struct __half {
    unsigned short bits = 0;
    __half() = default;
    __half(const __half_raw& raw) : bits(raw.x) {}
    operator __half_raw() const { return {bits}; }
};
struct alignas(4) __half2 {
    __half x, y;
};

inline float __half2float(__half h) { return gs::half_to_float(h.bits); }
inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.bits; }
inline __half __float2half_rn(float f) { return __ushort_as_half(gs::float_to_half(f)); }
inline __half __float2half(float f) { return __float2half_rn(f); }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline __half2 __float22half2_rn(float2 f) { return __floats2half2_rn(f.x, f.y); }
inline float2 __half22float2(__half2 h) { return {__half2float(h.x), __half2float(h.y)}; }
inline __half __low2half(__half2 h) { return h.x; }
inline __half __high2half(__half2 h) { return h.y; }
inline float __low2float(__half2 h) { return __half2float(h.x); }
inline float __high2float(__half2 h) { return __half2float(h.y); }
