// The integer product with AVX-512 VNNI. Weights become unsigned bytes (value + 128), an input q of 15 bits two signed bytes (128 h + l): two
// vpdpbusd give an exact sum, the 128 is taken back by starting from -128 Σ q.
#include "engine/ops/cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/ops/cpu/round_block.h"

// As in targets.h: PR105593 of g++ 12.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_unpack.h"

namespace gs::cpu {
namespace {

/// Two blocks of one token. Every vector is laid out as the lanes of a product meet it.
struct alignas(64) PairInput {
    int8_t high[64], low[64];
    int32_t start[16];      ///< -128 times the sum of the four q of each lane
    float scale[16];        ///< scale of block 0 in lanes 0..7, of block 1 in 8..15
    float sum[16];          ///< scale * Σ q in lanes 0 and 8, else 0: what a block's minimum multiplies
};

/// Behind the pairs, for gemm: -128 Σ q of every block.
int32_t* starts_of(std::byte* input, int n_pairs) { return reinterpret_cast<int32_t*>(input + sizeof(PairInput) * static_cast<size_t>(n_pairs)); }
const int32_t* starts_of(const std::byte* input, int n_pairs) {
    return reinterpret_cast<const int32_t*>(input + sizeof(PairInput) * static_cast<size_t>(n_pairs));
}
int pairs_of(int n_in) { return (n_in / kBlock + 1) / 2; }

size_t input_bytes(int n_in) {
    const auto n_pairs = static_cast<size_t>(pairs_of(n_in));
    return n_pairs * sizeof(PairInput) + (n_pairs * 8 + 63) / 64 * 64;
}

void prepare_block(const float* x, PairInput& pair, int side, int32_t* start) {
    alignas(64) int16_t q[kBlock];
    const RoundedBlock r = round_block(x, q);
    for (int i = 0; i < kBlock; ++i) {
        const int h = (q[i] + 64) >> 7;
        pair.high[side * kBlock + i] = static_cast<int8_t>(h);
        pair.low[side * kBlock + i] = static_cast<int8_t>(q[i] - 128 * h);
    }
    for (int i = 0; i < 8; ++i) {
        pair.start[side * 8 + i] = -128 * (q[4 * i] + q[4 * i + 1] + q[4 * i + 2] + q[4 * i + 3]);
        pair.scale[side * 8 + i] = r.scale;
        pair.sum[side * 8 + i] = 0;
    }
    pair.sum[side * 8] = r.scale * static_cast<float>(r.sum);
    *start = -128 * r.sum;
}

void prepare(const float* x, int n_in, std::byte* input) {
    const int n_blocks = n_in / kBlock, n_pairs = pairs_of(n_in);
    auto* pairs = reinterpret_cast<PairInput*>(input);
    int32_t* starts = starts_of(input, n_pairs);
    if (n_blocks % 2 != 0) std::memset(static_cast<void*>(pairs + n_pairs - 1), 0, sizeof(PairInput));
    for (int b = 0; b < n_blocks; ++b) prepare_block(x + b * kBlock, pairs[b / 2], b % 2, starts + b);
}

constexpr int kSegment = 64;  // blocks whose scales are widened at a time

/// Scales (field 0) or minima (field 2) of up to kSegment blocks as f32; one more is set to 0 behind an odd count.
template <TensorType kType>
void load_halves(const uint8_t* blocks, int n, int field, float* out) {
    alignas(64) uint16_t halves[kSegment + 16];
    for (int b = 0; b < n; ++b) std::memcpy(halves + b, blocks + b * kBytes<kType> + field, 2);
    for (int b = 0; b < n; b += 16) _mm512_store_ps(out + b, _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(halves + b))));
    out[n] = 0;
}

/// [a × 8, b × 8] of a pair of neighbours.
inline __m512 spread_pair(const float* p) {
    const __m512i index = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    double both;
    std::memcpy(&both, p, sizeof both);
    return _mm512_permutexvar_ps(index, _mm512_castpd_ps(_mm512_set1_pd(both)));
}

template <TensorType kType, int kRows>
inline void add_pair(const PairInput& x, const uint8_t* const* rows, size_t offset, bool both, const float (*scales)[kSegment + 16],
                     const float (*minima)[kSegment + 16], int b, __m512* totals) {
    const __m512i high = _mm512_load_si512(x.high), low = _mm512_load_si512(x.low), start = _mm512_load_si512(x.start);
    const __m512 scale = _mm512_load_ps(x.scale);
    for (int r = 0; r < kRows; ++r) {
        const __m512i w = both ? load_pair<kType>(rows[r] + offset) : load_single<kType>(rows[r] + offset);
        const __m512i sum_high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, high);
        const __m512i sum_low = _mm512_dpbusd_epi32(start, w, low);
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sum_low, _mm512_slli_epi32(sum_high, 7)));
        totals[r] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, spread_pair(scales[r] + b)), totals[r]);
        if constexpr (kHasMin<kType>) totals[r] = _mm512_fmadd_ps(spread_pair(minima[r] + b), _mm512_load_ps(x.sum), totals[r]);
    }
}

template <TensorType kType, int kRows>
void multiply_rows(const uint8_t* first_row, size_t row_bytes, int n_blocks, const PairInput* x, float* out) {
    alignas(64) float scales[kRows][kSegment + 16], minima[kRows][kSegment + 16];
    const uint8_t* rows[kRows];
    __m512 totals[kRows];
    for (int r = 0; r < kRows; ++r) {
        rows[r] = first_row + row_bytes * static_cast<size_t>(r);
        totals[r] = _mm512_setzero_ps();
    }
    for (int first = 0; first < n_blocks; first += kSegment) {
        const int n = std::min(kSegment, n_blocks - first);
        for (int r = 0; r < kRows; ++r) {
            load_halves<kType>(rows[r] + first * kBytes<kType>, n, 0, scales[r]);
            if constexpr (kHasMin<kType>) load_halves<kType>(rows[r] + first * kBytes<kType>, n, 2, minima[r]);
        }
        int b = 0;
        for (; b + 2 <= n; b += 2)
            add_pair<kType, kRows>(x[(first + b) / 2], rows, static_cast<size_t>(first + b) * kBytes<kType>, true, scales, minima, b, totals);
        if (b < n)
            add_pair<kType, kRows>(x[(first + b) / 2], rows, static_cast<size_t>(first + b) * kBytes<kType>, false, scales, minima, b, totals);
    }
    for (int r = 0; r < kRows; ++r) out[r] = _mm512_reduce_add_ps(totals[r]);
}

template <TensorType kType>
void multiply(const Weight& w, int row_begin, int row_end, const PairInput* x, float* out) {
    int o = row_begin;
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    for (; o + 4 <= row_end; o += 4, out += 4)
        multiply_rows<kType, 4>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, w.n_in / kBlock, x, out);
    for (; o < row_end; ++o, ++out)
        multiply_rows<kType, 1>(rows + w.row_bytes * static_cast<size_t>(o), w.row_bytes, w.n_in / kBlock, x, out);
}

void gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    const auto* x = reinterpret_cast<const PairInput*>(input);
    for_quantized(w.type, [&]<TensorType kType>() { multiply<kType>(w, row_begin, row_end, x, out); });
}

/// A block of a panel: [8 groups of 4 values][16 rows][4 bytes], then scales and minima of the 16 rows.
struct alignas(64) PanelBlock {
    uint8_t values[8][kPanelRows][4];
    float scale[kPanelRows], min[kPanelRows];
};

size_t panel_bytes(int n_in) { return static_cast<size_t>(n_in / kBlock) * sizeof(PanelBlock); }

template <TensorType kType>
void pack_row(const uint8_t* row, int n_blocks, int r, PanelBlock* panel) {
    alignas(64) uint8_t values[64];
    for (int b = 0; b < n_blocks; ++b, row += kBytes<kType>) {
        _mm512_store_si512(values, load_single<kType>(row));
        for (int g = 0; g < 8; ++g) std::memcpy(panel[b].values[g][r], values + 4 * g, 4);
        panel[b].scale[r] = half_at(row);
        panel[b].min[r] = kHasMin<kType> ? half_at(row + 2) : 0.0f;
    }
}

void pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    if (row_end - row_begin < kPanelRows) std::memset(panel, 0, panel_bytes(w.n_in));
    for_quantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            pack_row<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, o - row_begin, reinterpret_cast<PanelBlock*>(panel));
    });
}

/// Four bytes of an input to every lane.
inline __m512i broadcast4(const int8_t* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

template <int kTokens, bool kMin>
void multiply_panel(const PanelBlock* panel, int n_blocks, const std::byte* const* inputs, float* tile) {
    __m512 totals[kTokens];
    for (int t = 0; t < kTokens; ++t) totals[t] = _mm512_setzero_ps();
    const int n_pairs = (n_blocks + 1) / 2;
    for (int b = 0; b < n_blocks; ++b) {
        __m512i w[8];
        for (int g = 0; g < 8; ++g) w[g] = _mm512_load_si512(panel[b].values[g]);
        const __m512 scale = _mm512_load_ps(panel[b].scale);
        const int side = b % 2;
        for (int t = 0; t < kTokens; ++t) {
            const auto& x = reinterpret_cast<const PairInput*>(inputs[t])[b / 2];
            __m512i low = _mm512_set1_epi32(starts_of(inputs[t], n_pairs)[b]), high = _mm512_setzero_si512();
            for (int g = 0; g < 8; ++g) {
                low = _mm512_dpbusd_epi32(low, w[g], broadcast4(x.low + side * kBlock + 4 * g));
                high = _mm512_dpbusd_epi32(high, w[g], broadcast4(x.high + side * kBlock + 4 * g));
            }
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(low, _mm512_slli_epi32(high, 7)));
            totals[t] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, _mm512_set1_ps(x.scale[side * 8])), totals[t]);
            if constexpr (kMin) totals[t] = _mm512_fmadd_ps(_mm512_load_ps(panel[b].min), _mm512_set1_ps(x.sum[side * 8]), totals[t]);
        }
    }
    for (int t = 0; t < kTokens; ++t) _mm512_store_ps(tile + t * kPanelRows, totals[t]);
}

template <bool kMin>
void multiply_tokens(const PanelBlock* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out,
                     ptrdiff_t stride) {
    alignas(64) float tile[8 * kPanelRows];
    for (int t = 0; t < n_tokens;) {
        const int left = n_tokens - t, n = left >= 8 ? 8 : left >= 4 ? 4 : 1;
        if (n == 8) multiply_panel<8, kMin>(panel, n_in / kBlock, inputs + t, tile);
        else if (n == 4) multiply_panel<4, kMin>(panel, n_in / kBlock, inputs + t, tile);
        else multiply_panel<1, kMin>(panel, n_in / kBlock, inputs + t, tile);
        for (int i = 0; i < n; ++i) std::memcpy(out + (t + i) * stride, tile + i * kPanelRows, sizeof(float) * static_cast<size_t>(n_rows));
        t += n;
    }
}

void gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    const auto* blocks = reinterpret_cast<const PanelBlock*>(panel);
    if (w.type == TensorType::kQ4_1 || w.type == TensorType::kQ5_1) multiply_tokens<true>(blocks, w.n_in, n_rows, inputs, n_tokens, out, stride);
    else multiply_tokens<false>(blocks, w.n_in, n_rows, inputs, n_tokens, out, stride);
}

}  // namespace

bool vnni_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

void add_vnni_kernels(Kernels& kernels) { kernels.fast = {input_bytes, prepare, gemv, panel_bytes, pack, gemm}; }

}  // namespace gs::cpu
#pragma GCC pop_options

#else

namespace gs::cpu {
bool vnni_supported() { return false; }
void add_vnni_kernels(Kernels&) {}
}  // namespace gs::cpu

#endif
