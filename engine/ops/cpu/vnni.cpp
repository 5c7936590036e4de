// The integer product with AVX-512 VNNI. Weights become unsigned bytes (value + 128), an input q of 15 bits two signed bytes (128 h + l): two
// vpdpbusd give an exact sum, the 128 is taken back by starting from -Σ q, which the shift of the high part multiplies by 128.
#include "engine/ops/cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/model/block_scales.h"
#include "engine/ops/rounding.h"
#include "engine/ops/cpu/vnni_input.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_sums.h"
#include "engine/ops/cpu/vnni_unpack.h"

namespace gs::cpu {
namespace {

/// Of 32 values, given the sums of every four: the sums of the first and of the last 16.
struct HalfSums {
    int32_t first, second;
    explicit HalfSums(__m256i fours) {
        const __m128i twos = _mm_hadd_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
        const __m128i ones = _mm_hadd_epi32(twos, twos);
        first = _mm_cvtsi128_si32(ones);
        second = _mm_extract_epi32(ones, 1);
    }
    int32_t sum() const { return first + second; }
};

/// Eight values to each vector.
void spread(__m256i bytes, int run, int8_t (*vectors)[64]) {
    alignas(32) int64_t eights[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(eights), bytes);
    for (int v = 0; v < 4; ++v) std::memcpy(vectors[v] + 8 * run, &eights[v], sizeof eights[v]);
}

void prepare_block(const float* x, int block, const InputView& view) {
    auto& pair = const_cast<PairInput&>(view.pairs[block / 2]);
    auto& lanes = const_cast<PairLanes&>(view.lanes[block / 2]);
    auto& super = const_cast<SuperInput&>(view.supers[block / 8]);
    auto& spreads = const_cast<SpreadInput&>(view.spreads[block / 8]);
    const int side = block % 2;
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
    const HalfSums sums(fours);
    const float scale = largest / kLargestRounded + probe;
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair.high + side * kBlock), high);
    _mm256_store_si256(reinterpret_cast<__m256i*>(pair.low + side * kBlock), low);
    spread(high, block % 8, spreads.high);
    spread(low, block % 8, spreads.low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes.start + side * 8), _mm256_sub_epi32(none, fours));
    _mm256_store_ps(lanes.scale + side * 8, _mm256_set1_ps(scale));
    _mm256_store_ps(lanes.sum + side * 8, _mm256_zextps128_ps256(_mm_set_ss(scale * static_cast<float>(sums.sum()))));
    super.scale16[2 * (block % 8)] = super.scale16[2 * (block % 8) + 1] = super.scale32[block % 8] = scale;
    super.scale_nibbles[block % 8] = block % 2 == 0 ? scale : scale / 16;
    super.sum16[2 * (block % 8)] = scale * static_cast<float>(sums.first);
    super.sum16[2 * (block % 8) + 1] = scale * static_cast<float>(sums.second);
    super.sum32[8 + block % 8] = scale * static_cast<float>(sums.sum());
    const auto run = [scale](int32_t q) { return RunInput{scale, scale * static_cast<float>(q), -128 * q}; };
    const_cast<RunInput*>(view.runs32)[block] = run(sums.sum());
    const_cast<RunInput*>(view.runs16)[2 * block] = run(sums.first);
    const_cast<RunInput*>(view.runs16)[2 * block + 1] = run(sums.second);
}

void prepare(const float* x, int n_in, std::byte* input) {
    const int n_blocks = n_in / kBlock, n_pairs = pairs_of(n_in);
    const InputView view(input, n_in);
    if (n_blocks % 2 != 0) {
        std::memset(static_cast<void*>(const_cast<PairInput*>(view.pairs + n_pairs - 1)), 0, sizeof(PairInput));
        std::memset(static_cast<void*>(const_cast<PairLanes*>(view.lanes + n_pairs - 1)), 0, sizeof(PairLanes));
    }
    std::memset(static_cast<void*>(const_cast<SuperInput*>(view.supers)), 0, sizeof(SuperInput) * static_cast<size_t>(supers_of(n_in)));
    for (int b = 0; b < n_blocks; ++b) prepare_block(x + b * kBlock, b, view);
}

/// Adds one pair of blocks (or, at the end of a row, one block) of some rows.
template <TensorType kType, int kRows, bool kPair>
inline void add_blocks(const PairInput& x, const PairLanes& lanes, const uint8_t* blocks, size_t row_bytes, __m512* totals) {
    const __m512i high = _mm512_load_si512(x.high), low = _mm512_load_si512(x.low), start = _mm512_load_si512(lanes.start);
    const __m512 scale = _mm512_load_ps(lanes.scale);
    for (int r = 0; r < kRows; ++r) {
        const uint8_t* block = blocks + row_bytes * static_cast<size_t>(r);
        const __m512i weights = kPair ? load_pair<kType>(block) : load_single<kType>(block);
        const __m512 halves = kPair ? pair_halves<kType>(block, 0) : _mm512_set1_ps(block_scale<kType>(block));
        totals[r] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(pair_sums(weights, high, low, start)), scale), halves, totals[r]);
        if constexpr (kHasMin<kType>)
            totals[r] = _mm512_fmadd_ps(kPair ? pair_halves<kType>(block, 1) : _mm512_set1_ps(half_at(block + 2)), _mm512_load_ps(lanes.sum), totals[r]);
    }
}

// More rows at once reuse more of the input, but are more streams than the processor's own prefetching follows.
constexpr int kRowsAtOnce = 2, kNear = 6144;

template <TensorType kType, int kRows>
inline void multiply_rows(const uint8_t* first_row, size_t row_bytes, int n_blocks, const InputView& x, float* out) {
    __m512 totals[kRows];
    for (int r = 0; r < kRows; ++r) totals[r] = _mm512_setzero_ps();
    constexpr int kStepBytes = 2 * kBytes<kType> * kRows;
    const uint8_t *blocks = first_row, *stream = first_row;
    for (int p = 0; p < n_blocks / 2; ++p, blocks += 2 * kBytes<kType>, stream += kStepBytes) {
        ask_ahead<kType, kStepBytes, kNear>(stream);
        add_blocks<kType, kRows, true>(x.pairs[p], x.lanes[p], blocks, row_bytes, totals);
    }
    if (n_blocks % 2 != 0) add_blocks<kType, kRows, false>(x.pairs[n_blocks / 2], x.lanes[n_blocks / 2], blocks, row_bytes, totals);
    for (int r = 0; r < kRows; ++r) out[r] = sum_lanes(totals[r]);
}

/// Eight rows of one block each (narrow experts): two rows a vector.
template <TensorType kType>
inline void multiply_short_rows(const uint8_t* rows, const InputView& x, float* out) {
    const auto twice = [](const void* p) { return _mm512_broadcast_i64x4(_mm256_load_si256(static_cast<const __m256i*>(p))); };
    const __m512i high = twice(x.pairs->high), low = twice(x.pairs->low), start = twice(x.lanes->start);
    const __m512 scale = _mm512_castsi512_ps(twice(x.lanes->scale)), sum_x = _mm512_castsi512_ps(twice(x.lanes->sum));
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
void multiply(const Weight& w, int row_begin, int row_end, const InputView& x, float* out) {
    int o = row_begin;
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    const int n_blocks = w.n_in / kBlock;
    if (n_blocks == 1)
        for (; o + 8 <= row_end; o += 8, out += 8) multiply_short_rows<kType>(rows + w.row_bytes * static_cast<size_t>(o), x, out);
    for (; o + kRowsAtOnce <= row_end; o += kRowsAtOnce, out += kRowsAtOnce)
        multiply_rows<kType, kRowsAtOnce>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
    for (; o < row_end; ++o, ++out) multiply_rows<kType, 1>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, n_blocks, x, out);
}

void gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    if (is_super(w.type)) return vnni_super_gemv(w, row_begin, row_end, input, out);
    const InputView x(input, w.n_in);
    for_small(w.type, [&]<TensorType kType>() { multiply<kType>(w, row_begin, row_end, x, out); });
}

}  // namespace

bool vnni_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

void add_vnni_kernels(Kernels& kernels) {
    kernels.fast = {kVnniPanelRows, InputView::n_bytes, prepare, gemv, vnni_panel_bytes, vnni_pack, vnni_gemm};
    kernels.tiled = {kVnniPanelRows, InputView::n_bytes, prepare, vnni_gemv_tiles, vnni_panel_bytes, vnni_pack_tiles, vnni_gemm};
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
