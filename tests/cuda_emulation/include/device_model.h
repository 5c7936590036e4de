// Qualifiers, vector types, indices of the running thread, barriers, and what the lanes of a warp exchange.
// __noinline__ is not defined: the standard library uses it as a name of an attribute.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/cuda_emulation/fibers.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

#define GS_VECTOR_TYPES(T, name, align)                                                  \
    struct alignas(2 * (align)) name##2 { T x, y; };                                     \
    struct name##3 { T x, y, z; };                                                       \
    struct alignas(4 * (align) > 16 ? 16 : 4 * (align)) name##4 { T x, y, z, w; };       \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; }                           \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                   \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
GS_VECTOR_TYPES(float, float, 4)
GS_VECTOR_TYPES(double, double, 8)
GS_VECTOR_TYPES(int, int, 4)
GS_VECTOR_TYPES(unsigned, uint, 4)
GS_VECTOR_TYPES(short, short, 2)
GS_VECTOR_TYPES(unsigned short, ushort, 2)
GS_VECTOR_TYPES(signed char, char, 1)
GS_VECTOR_TYPES(unsigned char, uchar, 1)
#undef GS_VECTOR_TYPES

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

inline void __syncthreads(const cuda_emulation::Site& at = cuda_emulation::Site::current()) { cuda_emulation::block_barrier(false, at); }
inline int __syncthreads_count(int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) { return cuda_emulation::block_barrier(p != 0, at); }
inline int __syncthreads_or(int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) { return cuda_emulation::block_barrier(p != 0, at) != 0; }
inline int __syncthreads_and(int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) { return cuda_emulation::block_barrier(p == 0, at) == 0; }

inline void __syncwarp(unsigned mask = 0xffffffffu, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    cuda_emulation::warp_meet(cuda_emulation::WarpOp::kSync, mask, 0, 0, at);
}

namespace cuda_emulation {
template <class T>
T exchange(unsigned mask, T value, unsigned source_lane, const Site& at) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    bits = warp_meet(WarpOp::kShuffle, mask, bits, source_lane, at);
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
inline uint64_t vote(WarpOp op, unsigned mask, uint64_t value, const Site& at) { return warp_meet(op, mask, value, 0, at); }
}  // namespace cuda_emulation

// Sources outside a segment of `width` lanes give the lane's own value, as documented.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    const unsigned lane = cuda_emulation::lane_id(), w = static_cast<unsigned>(width);
    return cuda_emulation::exchange(mask, value, lane / w * w + static_cast<unsigned>(source) % w, at);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    const unsigned lane = cuda_emulation::lane_id(), w = static_cast<unsigned>(width), from = lane ^ static_cast<unsigned>(lane_mask);
    return cuda_emulation::exchange(mask, value, from < lane / w * w + w ? from : lane, at);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    const unsigned lane = cuda_emulation::lane_id(), w = static_cast<unsigned>(width);
    return cuda_emulation::exchange(mask, value, lane % w >= delta ? lane - delta : lane, at);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    const unsigned lane = cuda_emulation::lane_id(), w = static_cast<unsigned>(width);
    return cuda_emulation::exchange(mask, value, lane % w + delta < w ? lane + delta : lane, at);
}

inline unsigned __ballot_sync(unsigned mask, int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    return static_cast<unsigned>(cuda_emulation::vote(cuda_emulation::WarpOp::kBallot, mask, p != 0, at));
}
inline int __any_sync(unsigned mask, int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) { return __ballot_sync(mask, p, at) != 0; }
inline int __all_sync(unsigned mask, int p, const cuda_emulation::Site& at = cuda_emulation::Site::current()) { return __ballot_sync(mask, p, at) == mask; }
template <class T>
unsigned __match_any_sync(unsigned mask, T value, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return static_cast<unsigned>(cuda_emulation::vote(cuda_emulation::WarpOp::kMatchAny, mask, bits, at));
}
#define GS_WARP_REDUCTION(name, type, op)                                                                                              \
    inline type name(unsigned mask, type value, const cuda_emulation::Site& at = cuda_emulation::Site::current()) {                    \
        return static_cast<type>(cuda_emulation::vote(cuda_emulation::WarpOp::op, mask, static_cast<unsigned>(value), at));            \
    }
GS_WARP_REDUCTION(__reduce_add_sync, unsigned, kAddU)
GS_WARP_REDUCTION(__reduce_add_sync, int, kAddU)
GS_WARP_REDUCTION(__reduce_min_sync, unsigned, kMinU)
GS_WARP_REDUCTION(__reduce_min_sync, int, kMinS)
GS_WARP_REDUCTION(__reduce_max_sync, unsigned, kMaxU)
GS_WARP_REDUCTION(__reduce_max_sync, int, kMaxS)
GS_WARP_REDUCTION(__reduce_and_sync, unsigned, kAnd)
GS_WARP_REDUCTION(__reduce_or_sync, unsigned, kOr)
GS_WARP_REDUCTION(__reduce_xor_sync, unsigned, kXor)
#undef GS_WARP_REDUCTION
