// Tensor core products and asynchronous copies. On the device they are one instruction each; in the emulation the same fragments, lane by lane as PTX
// documents them, are multiplied on the host. Every lane of the warp takes part, in blocks of one dimension.
//
// Fragments, with r = lane / 4 and c = lane % 4: d[0..1] are (row r, columns 2 c and 2 c + 1), d[2..3] the same of row r + 8. A word of a or b is 4
// bytes wide: four int8 or two bf16 that follow each other along k.
//   a: word 0 (row r, word c of k), word 1 (row r + 8, word c); where k is 8 words: 2 (row r, word c + 4), 3 (row r + 8, word c + 4)
//   b: word 0 (word c of k, column r), where k is 8 words: 1 (word c + 4, column r)
// A word of k is two rows of a matrix whose rows are k: load_transposed() puts them together.
#pragma once

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/ops/cuda/launch.cuh"

namespace gs::cuda {

#if defined(__CUDACC__)

/// d += a b: 16 x 32 times 32 x 8 signed bytes.
__device__ inline void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// 16 x 16 times 16 x 8 signed bytes.
__device__ inline void mma_s8_half(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1]) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

/// 16 x 16 times 16 x 8 bf16, f32 sums that are cut off, not rounded.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The same of halves.
__device__ inline void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// The fragments of b of four 8 x 8 matrices of halves in shared memory whose rows are k: lane l says where row l % 8 of matrix l / 8 is, 16 bytes at a
/// multiple of 16; words[m] is word c of k, column r, of matrix m.
__device__ inline void load_transposed(uint32_t (&words)[4], const void* row) {
    const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(from)
                 : "memory");
}

/// 16 bytes from global to shared memory, behind the thread's back; zeros, and nothing read, where `valid` is false.
__device__ inline void copy_async_16(void* shared, const void* global, bool valid) {
    const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
__device__ inline void commit_async() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Until all copies of this thread have arrived; a barrier makes them visible to others.
__device__ inline void wait_async() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#else

namespace emulated {

struct Fragments {
    uint32_t a[kWarp][4], b[kWarp][2];
};

/// What the lanes of this warp hold. Blocks run one after another.
inline Fragments& exchange(const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    static Fragments warps[32];
    Fragments& f = warps[threadIdx.x / kWarp];
    const unsigned lane = threadIdx.x % kWarp;
    for (int i = 0; i < 4; ++i) f.a[lane][i] = a[i];
    for (int i = 0; i < 2; ++i) f.b[lane][i] = b[i];
    __syncwarp();
    return f;
}

/// Calls add(i, word of a, word of b) for the products of d[i], k_words words of k.
template <class Add>
void each_product(const Fragments& f, int k_words, const Add& add) {
    const int lane = static_cast<int>(threadIdx.x % kWarp), r = lane / 4, c = lane % 4;
    for (int i = 0; i < 4; ++i)
        for (int k = 0; k < k_words; ++k) add(i, f.a[r * 4 + k % 4][k / 4 * 2 + i / 2], f.b[(2 * c + i % 2) * 4 + k % 4][k / 4]);
}

inline void add_bytes(int (&d)[4], const Fragments& f, int k_words) {
    each_product(f, k_words, [&d](int i, uint32_t a, uint32_t b) {
        for (int s = 0; s < 32; s += 8) d[i] += static_cast<int8_t>(a >> s) * static_cast<int8_t>(b >> s);
    });
    __syncwarp();
}

template <class Widen>
void add_floats(float (&d)[4], const Fragments& f, const Widen& widen) {
    double sums[4] = {d[0], d[1], d[2], d[3]};
    each_product(f, 8, [&](int i, uint32_t a, uint32_t b) {
        for (int s = 0; s < 32; s += 16) sums[i] += static_cast<double>(widen(a >> s & 0xffffu)) * static_cast<double>(widen(b >> s & 0xffffu));
    });
    for (int i = 0; i < 4; ++i) {
        d[i] = static_cast<float>(sums[i]);
        if (std::fabs(d[i]) > std::fabs(sums[i])) d[i] = std::nextafterf(d[i], 0);   // sums are cut off, as tensor cores do
    }
    __syncwarp();
}

}  // namespace emulated

inline void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { emulated::add_bytes(d, emulated::exchange(a, b), 8); }

inline void mma_s8_half(int (&d)[4], const uint32_t (&a)[2], const uint32_t (&b)[1]) {
    emulated::add_bytes(d, emulated::exchange({a[0], a[1], 0, 0}, {b[0], 0}), 4);
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulated::add_floats(d, emulated::exchange(a, b), [](uint32_t bits) { return __uint_as_float(bits << 16); });
}
inline void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulated::add_floats(d, emulated::exchange(a, b), [](uint32_t bits) { return __half2float(__ushort_as_half(static_cast<unsigned short>(bits))); });
}

inline void load_transposed(uint32_t (&words)[4], const void* row) {
    static const uint16_t* warps[32][kWarp];
    const uint16_t** rows = warps[threadIdx.x / kWarp];
    const unsigned lane = threadIdx.x % kWarp, r = lane / 4, c = lane % 4;
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) cuda_emulation::fail("a matrix row that is not aligned to 16 bytes", cuda_emulation::Site::current());
    rows[lane] = static_cast<const uint16_t*>(row);
    __syncwarp();
    for (unsigned m = 0; m < 4; ++m) words[m] = rows[8 * m + 2 * c][r] | static_cast<uint32_t>(rows[8 * m + 2 * c + 1][r]) << 16;
    __syncwarp();
}

inline void copy_async_16(void* shared, const void* global, bool valid) {
    if (valid) std::memcpy(shared, global, 16);
    else std::memset(shared, 0, 16);
}
inline void commit_async() {}
inline void wait_async() {}

#endif

}  // namespace gs::cuda
