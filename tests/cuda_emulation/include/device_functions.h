// Intrinsics and atomics of one thread, bit for bit where the instruction set defines the result; approximate ones (__expf) are exact here.
#pragma once

#include <bit>

#include "tests/cuda_emulation/include/device_model.h"

// Mixed arguments convert as they do in device code.
#define GS_MIN_MAX(T)                                \
    inline T min(T a, T b) { return b < a ? b : a; } \
    inline T max(T a, T b) { return a < b ? b : a; }
GS_MIN_MAX(int)
GS_MIN_MAX(unsigned)
GS_MIN_MAX(long)
GS_MIN_MAX(unsigned long)
GS_MIN_MAX(long long)
GS_MIN_MAX(unsigned long long)
#undef GS_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// Loads and stores with a cache hint.
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldca(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> T __ldlu(const T* p) { return *p; }
template <class T> void __stcg(T* p, T value) { *p = value; }
template <class T> void __stcs(T* p, T value) { *p = value; }
template <class T> void __stwt(T* p, T value) { *p = value; }

inline int __float_as_int(float f) { return std::bit_cast<int>(f); }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
inline float __int_as_float(int i) { return std::bit_cast<float>(i); }
inline float __uint_as_float(unsigned i) { return std::bit_cast<float>(i); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x ? std::countr_zero(static_cast<unsigned>(x)) + 1 : 0; }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; ++i) y |= (x >> i & 1u) << (31 - i);
    return y;
}

/// Byte i of the result is byte s_i (low three bits of nibble i) of y:x; with bit 3 of the nibble set, its sign in all bits.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
    const uint64_t both = static_cast<uint64_t>(y) << 32 | x;
    unsigned out = 0;
    for (int i = 0; i < 4; ++i) {
        const unsigned nibble = s >> 4 * i & 15u;
        unsigned byte = static_cast<unsigned>(both >> 8 * (nibble & 7u)) & 255u;
        if (nibble & 8u) byte = byte & 128u ? 255u : 0u;
        out |= byte << 8 * i;
    }
    return out;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31u));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31u) >> 32);
}

inline int __dp4a(int a, int b, int c) {
    unsigned sum = static_cast<unsigned>(c);
    for (int i = 0; i < 32; i += 8) sum += static_cast<unsigned>(static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i));
    return static_cast<int>(sum);
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) {
    for (int i = 0; i < 32; i += 8) c += (a >> i & 255u) * (b >> i & 255u);
    return c;
}

/// Four or two lanes of a word.
namespace cuda_emulation {
template <int kBits, class Combine>
unsigned lanes(unsigned a, unsigned b, const Combine& combine) {
    constexpr unsigned kMask = (1u << kBits) - 1;
    unsigned out = 0;
    for (int i = 0; i < 32; i += kBits) out |= (static_cast<unsigned>(combine(a >> i & kMask, b >> i & kMask)) & kMask) << i;
    return out;
}
}  // namespace cuda_emulation
inline unsigned __vadd4(unsigned a, unsigned b) { return cuda_emulation::lanes<8>(a, b, [](unsigned x, unsigned y) { return x + y; }); }
inline unsigned __vsub4(unsigned a, unsigned b) { return cuda_emulation::lanes<8>(a, b, [](unsigned x, unsigned y) { return x - y; }); }
inline unsigned __vcmpeq4(unsigned a, unsigned b) { return cuda_emulation::lanes<8>(a, b, [](unsigned x, unsigned y) { return x == y ? 255u : 0u; }); }
inline unsigned __vcmpne4(unsigned a, unsigned b) { return cuda_emulation::lanes<8>(a, b, [](unsigned x, unsigned y) { return x != y ? 255u : 0u; }); }
inline unsigned __vsubss4(unsigned a, unsigned b) {
    return cuda_emulation::lanes<8>(a, b, [](unsigned x, unsigned y) { return std::clamp(static_cast<int8_t>(x) - static_cast<int8_t>(y), -128, 127); });
}
inline unsigned __vadd2(unsigned a, unsigned b) { return cuda_emulation::lanes<16>(a, b, [](unsigned x, unsigned y) { return x + y; }); }
inline unsigned __vsub2(unsigned a, unsigned b) { return cuda_emulation::lanes<16>(a, b, [](unsigned x, unsigned y) { return x - y; }); }

// Volatile, so that the compiler does not fuse what device code says is not fused.
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fsub_rn(float a, float b) { volatile float r = a - b; return r; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __frsqrt_rn(float a) { return 1.0f / std::sqrt(a); }
inline float __expf(float a) { return std::exp(a); }
inline float __exp10f(float a) { return std::pow(10.0f, a); }
inline float __logf(float a) { return std::log(a); }
inline float __log2f(float a) { return std::log2(a); }
inline float __powf(float a, float b) { return std::pow(a, b); }
inline float __saturatef(float a) { return a > 0 ? std::fmin(a, 1.0f) : 0.0f; }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
inline int __float2int_rn(float a) { return static_cast<int>(std::nearbyint(a)); }
inline int __float2int_rz(float a) { return static_cast<int>(a); }
inline int __float2int_rd(float a) { return static_cast<int>(std::floor(a)); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }

// One fiber runs at a time, so that these are atomic as they stand.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
template <class T>
T atomicAdd(T* p, T value) { const T old = *p; *p = static_cast<T>(old + value); return old; }
template <class T>
T atomicSub(T* p, T value) { const T old = *p; *p = static_cast<T>(old - value); return old; }
template <class T>
T atomicMax(T* p, T value) { const T old = *p; *p = std::max(old, value); return old; }
template <class T>
T atomicMin(T* p, T value) { const T old = *p; *p = std::min(old, value); return old; }
template <class T>
T atomicAnd(T* p, T value) { const T old = *p; *p = old & value; return old; }
template <class T>
T atomicOr(T* p, T value) { const T old = *p; *p = old | value; return old; }
template <class T>
T atomicXor(T* p, T value) { const T old = *p; *p = old ^ value; return old; }
template <class T>
T atomicExch(T* p, T value) { const T old = *p; *p = value; return old; }
template <class T>
T atomicCAS(T* p, T expected, T value) { const T old = *p; if (old == expected) *p = value; return old; }
inline unsigned atomicInc(unsigned* p, unsigned limit) { const unsigned old = *p; *p = old >= limit ? 0 : old + 1; return old; }
