// The integer product with AVX-512 VNNI. Weights become unsigned bytes (value + 128), an input q of 15 bits two signed bytes (128 h + l): two
// vpdpbusd give an exact sum, the 128 is taken back by starting from -128 Σ q.
#include "engine/ops/cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/ops/cpu/rounding.h"
#include "engine/ops/cpu/vnni_input.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_unpack.h"

namespace gs::cpu {
namespace {

size_t input_bytes(int n_in) {
    const auto n_pairs = static_cast<size_t>(pairs_of(n_in));
    return n_pairs * sizeof(PairInput) + (n_pairs * 8 + 63) / 64 * 64;
}

void prepare_block(const float* x, PairInput& pair, int side, int32_t* start) {
    const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16), zero = _mm512_setzero_ps();
    const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    // 0 times infinity or NaN: neither may be lost in the rounding.
    const float probe = _mm512_reduce_add_ps(_mm512_fmadd_ps(a, zero, _mm512_mul_ps(b, zero)));
    const __m512 inverse = _mm512_set1_ps(rounding_inverse(largest));
    const __m512i qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, inverse)), qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, inverse));
    const __m512i half = _mm512_set1_epi32(64);
    const __m512i ha = _mm512_srai_epi32(_mm512_add_epi32(qa, half), 7), hb = _mm512_srai_epi32(_mm512_add_epi32(qb, half), 7);
    const __m512i la = _mm512_sub_epi32(qa, _mm512_slli_epi32(ha, 7)), lb = _mm512_sub_epi32(qb, _mm512_slli_epi32(hb, 7));
    const __m256i high = _mm256_set_m128i(_mm512_cvtepi32_epi8(hb), _mm512_cvtepi32_epi8(ha));
    const __m256i low = _mm256_set_m128i(_mm512_cvtepi32_epi8(lb), _mm512_cvtepi32_epi8(la));
    const __m256i ones = _mm256_set1_epi8(1), none = _mm256_setzero_si256();
    const __m256i fours = _mm256_add_epi32(_mm256_slli_epi32(_mm256_dpbusd_epi32(none, ones, high), 7), _mm256_dpbusd_epi32(none, ones, low));
    const int32_t sum = _mm512_reduce_add_epi32(_mm512_zextsi256_si512(fours));
    const float scale = largest / kLargestRounded + probe;
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair.high + side * kBlock), high);
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair.low + side * kBlock), low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair.start + side * 8), _mm256_sub_epi32(none, _mm256_slli_epi32(fours, 7)));
    _mm256_store_ps(pair.scale + side * 8, _mm256_set1_ps(scale));
    _mm256_store_ps(pair.sum + side * 8, _mm256_zextps128_ps256(_mm_set_ss(scale * static_cast<float>(sum))));
    *start = -128 * sum;
}

void prepare(const float* x, int n_in, std::byte* input) {
    const int n_blocks = n_in / kBlock, n_pairs = pairs_of(n_in);
    auto* pairs = reinterpret_cast<PairInput*>(input);
    auto* starts = reinterpret_cast<int32_t*>(input + sizeof(PairInput) * static_cast<size_t>(n_pairs));
    if (n_blocks % 2 != 0) std::memset(static_cast<void*>(pairs + n_pairs - 1), 0, sizeof(PairInput));
    for (int b = 0; b < n_blocks; ++b) prepare_block(x + b * kBlock, pairs[b / 2], b % 2, starts + b);
}

/// Sums of the 16 lanes of four vectors.
inline __m128 sum_lanes(__m512 a, __m512 b, __m512 c, __m512 d) {
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    const __m512 parts = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(parts), _mm512_extractf32x8_ps(parts, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/// The exact integer sums of one pair of blocks, four values a lane.
inline __m512i pair_sums(__m512i weights, __m512i high, __m512i low, __m512i start) {
    const __m512i sum_high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights, high);
    return _mm512_add_epi32(_mm512_dpbusd_epi32(start, weights, low), _mm512_slli_epi32(sum_high, 7));
}

/// Adds one pair of blocks (or, at the end of a row, one block) of some rows.
template <TensorType kType, int kRows, bool kPair>
inline void add_blocks(const PairInput& x, const uint8_t* blocks, size_t row_bytes, __m512* totals) {
    const __m512i high = _mm512_load_si512(x.high), low = _mm512_load_si512(x.low), start = _mm512_load_si512(x.start);
    const __m512 scale = _mm512_load_ps(x.scale);
    for (int r = 0; r < kRows; ++r) {
        const uint8_t* block = blocks + row_bytes * static_cast<size_t>(r);
        const __m512i weights = kPair ? load_pair<kType>(block) : load_single<kType>(block);
        const __m512 halves = kPair ? pair_halves<kType>(block, 0) : single_half(block, 0);
        totals[r] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(pair_sums(weights, high, low, start)), scale), halves, totals[r]);
        if constexpr (kHasMin<kType>)
            totals[r] = _mm512_fmadd_ps(kPair ? pair_halves<kType>(block, 1) : single_half(block, 1), _mm512_load_ps(x.sum), totals[r]);
    }
}

template <TensorType kType, int kRows>
inline void multiply_rows(const uint8_t* first_row, size_t row_bytes, int n_blocks, const PairInput* x, float* out) {
    __m512 totals[kRows];
    for (int r = 0; r < kRows; ++r) totals[r] = _mm512_setzero_ps();
    // Rows come from memory in one stream: as many bytes as a step takes are asked for, some rows ahead.
    constexpr int kStepBytes = 2 * kBytes<kType> * kRows;
    const uint8_t* ahead = first_row + std::max<size_t>(2 * kRows * row_bytes, 4096);
    const uint8_t* blocks = first_row;
    for (int p = 0; p < n_blocks / 2; ++p, blocks += 2 * kBytes<kType>, ahead += kStepBytes) {
        for (int i = 0; i < kStepBytes; i += 64) _mm_prefetch(ahead + i, _MM_HINT_T0);
        add_blocks<kType, kRows, true>(x[p], blocks, row_bytes, totals);
    }
    if (n_blocks % 2 != 0) add_blocks<kType, kRows, false>(x[n_blocks / 2], blocks, row_bytes, totals);
    if constexpr (kRows == 4) _mm_storeu_ps(out, sum_lanes(totals[0], totals[1], totals[2], totals[3]));
    else
        for (int r = 0; r < kRows; ++r) out[r] = _mm_cvtss_f32(sum_lanes(totals[r], totals[r], totals[r], totals[r]));
}

/// Eight rows of one block each (narrow experts): two rows a vector.
template <TensorType kType>
inline void multiply_short_rows(const uint8_t* rows, const PairInput& x, float* out) {
    const auto twice = [](const void* p) { return _mm512_broadcast_i64x4(_mm256_load_si256(static_cast<const __m256i*>(p))); };
    const __m512i high = twice(x.high), low = twice(x.low), start = twice(x.start);
    const __m512 scale = _mm512_castsi512_ps(twice(x.scale)), sum_x = _mm512_castsi512_ps(twice(x.sum));
    __m512 f[4];
    for (int i = 0; i < 4; ++i) {
        const uint8_t* pair = rows + 2 * kBytes<kType> * i;
        const __m512 sum = _mm512_cvtepi32_ps(pair_sums(load_pair<kType>(pair), high, low, start));
        f[i] = _mm512_mul_ps(_mm512_mul_ps(sum, scale), pair_halves<kType>(pair, 0));
        if constexpr (kHasMin<kType>) f[i] = _mm512_fmadd_ps(pair_halves<kType>(pair, 1), sum_x, f[i]);
    }
    const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(f[0], f[1]), _mm512_unpackhi_ps(f[0], f[1]));
    const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(f[2], f[3]), _mm512_unpackhi_ps(f[2], f[3]));
    const __m512 parts = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    // 128-bit parts 0 and 1 hold rows 0 2 4 6, parts 2 and 3 rows 1 3 5 7.
    const __m256 even = _mm512_castps512_ps256(parts), odd = _mm512_extractf32x8_ps(parts, 1);
    const __m128 e = _mm_add_ps(_mm256_castps256_ps128(even), _mm256_extractf128_ps(even, 1));
    const __m128 o = _mm_add_ps(_mm256_castps256_ps128(odd), _mm256_extractf128_ps(odd, 1));
    _mm_storeu_ps(out, _mm_unpacklo_ps(e, o));
    _mm_storeu_ps(out + 4, _mm_unpackhi_ps(e, o));
}

template <TensorType kType>
void multiply(const Weight& w, int row_begin, int row_end, const PairInput* x, float* out) {
    int o = row_begin;
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    const int n_blocks = w.n_in / kBlock;
    if (n_blocks == 1)
        for (; o + 8 <= row_end; o += 8, out += 8) multiply_short_rows<kType>(rows + w.row_bytes * static_cast<size_t>(o), *x, out);
    for (; o + 4 <= row_end; o += 4, out += 4) multiply_rows<kType, 4>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
    for (; o < row_end; ++o, ++out) multiply_rows<kType, 1>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
}

void gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const auto* x = reinterpret_cast<const PairInput*>(input);
    for_quantized(w.type, [&]<TensorType kType>() { multiply<kType>(w, row_begin, row_end, x, out); });
}

}  // namespace

bool vnni_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

void add_vnni_kernels(Kernels& kernels) {
    kernels.fast = {kVnniPanelRows, input_bytes, prepare, gemv, vnni_panel_bytes, vnni_pack, vnni_gemm};
    kernels.tiled = {kVnniPanelRows, input_bytes, prepare, vnni_gemv_tiles, vnni_panel_bytes, vnni_pack_tiles, vnni_gemm};
    kernels.tile = vnni_tile;
}

}  // namespace gs::cpu
#pragma GCC pop_options

#else

namespace gs::cpu {
bool vnni_supported() { return false; }
void add_vnni_kernels(Kernels&) {}
}  // namespace gs::cpu

#endif
