// Panels for the AVX-512 VNNI product: 32 rows unpacked once, multiplied with many tokens.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/core/check.h"
#include "engine/ops/cpu/vnni_input.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_tiles.h"

namespace gs::cpu {
namespace {

constexpr int kHalf = kRowsPerTile;  // rows per vector

/// A block of 32 rows: [2 halves][8 groups of 4 values][16 rows][4 bytes], then scales and minima of the rows.
struct alignas(64) PanelBlock {
    uint8_t values[2][8][kHalf][4];
    float scale[2][kHalf], min[2][kHalf];
};

template <TensorType kType>
void pack_row(const uint8_t* row, int n_blocks, int r, PanelBlock* panel) {
    alignas(64) uint8_t values[64];
    const int half = r / kHalf, lane = r % kHalf;
    for (int b = 0; b < n_blocks; ++b, row += kBytes<kType>) {
        _mm512_store_si512(values, load_single<kType>(row));
        for (int g = 0; g < 8; ++g) std::memcpy(panel[b].values[half][g][lane], values + 4 * g, 4);
        panel[b].scale[half][lane] = half_at(row);
        panel[b].min[half][lane] = kHasMin<kType> ? half_at(row + 2) : 0.0f;
    }
}

template <TensorType kType>
void pack_tiles(const uint8_t* tile, int n_blocks, int half, PanelBlock* panel) {
    for (int b = 0; b < n_blocks; ++b, tile += Tile<kType>::kSize) {
        __m512i values[8];
        load_tile<kType>(tile, values);
        for (int g = 0; g < 8; ++g) _mm512_store_si512(panel[b].values[half][g], values[g]);
        _mm512_store_ps(panel[b].scale[half], tile_halves(tile, 0));
        if constexpr (kHasMin<kType>) _mm512_store_ps(panel[b].min[half], tile_halves(tile, Tile<kType>::kMin));
    }
}

/// tile[t][32]. Both halves share each broadcast: one load for two products.
template <int kTokens, int kHalves, bool kMin>
void multiply_panel(const PanelBlock* panel, int n_blocks, const std::byte* const* inputs, float* tile) {
    __m512 totals[kTokens][kHalves];
    for (int t = 0; t < kTokens; ++t)
        for (int h = 0; h < kHalves; ++h) totals[t][h] = _mm512_setzero_ps();
    const int n_pairs = (n_blocks + 1) / 2;
    for (int b = 0; b < n_blocks; ++b) {
        __m512i w[kHalves][8];
        for (int h = 0; h < kHalves; ++h)
            for (int g = 0; g < 8; ++g) w[h][g] = _mm512_load_si512(panel[b].values[h][g]);
        const int side = b % 2;
        for (int t = 0; t < kTokens; ++t) {
            const auto& x = reinterpret_cast<const PairInput*>(inputs[t])[b / 2];
            __m512i low[kHalves], high[kHalves];
            for (int h = 0; h < kHalves; ++h) {
                low[h] = _mm512_set1_epi32(starts_of(inputs[t], n_pairs)[b]);
                high[h] = _mm512_setzero_si512();
            }
            for (int g = 0; g < 8; ++g) {
                const __m512i xl = broadcast4(x.low + side * kBlock + 4 * g), xh = broadcast4(x.high + side * kBlock + 4 * g);
                for (int h = 0; h < kHalves; ++h) {
                    low[h] = _mm512_dpbusd_epi32(low[h], w[h][g], xl);
                    high[h] = _mm512_dpbusd_epi32(high[h], w[h][g], xh);
                }
            }
            const __m512 scale = _mm512_set1_ps(x.scale[side * 8]);
            for (int h = 0; h < kHalves; ++h) {
                const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(low[h], _mm512_slli_epi32(high[h], 7)));
                totals[t][h] = _mm512_fmadd_ps(sum, _mm512_mul_ps(_mm512_load_ps(panel[b].scale[h]), scale), totals[t][h]);
                if constexpr (kMin)
                    totals[t][h] = _mm512_fmadd_ps(_mm512_load_ps(panel[b].min[h]), _mm512_set1_ps(x.sum[side * 8]), totals[t][h]);
            }
        }
    }
    for (int t = 0; t < kTokens; ++t)
        for (int h = 0; h < kHalves; ++h) _mm512_store_ps(tile + t * kVnniPanelRows + h * kHalf, totals[t][h]);
}

template <int kHalves, bool kMin>
void multiply_tokens(const PanelBlock* panel, int n_in, int n_rows, const std::byte* const* inputs, int n_tokens, float* out,
                     ptrdiff_t stride) {
    alignas(64) float tile[4 * kVnniPanelRows];
    for (int t = 0; t < n_tokens;) {
        const int n = n_tokens - t >= 4 ? 4 : 1;
        if (n == 4) multiply_panel<4, kHalves, kMin>(panel, n_in / kBlock, inputs + t, tile);
        else multiply_panel<1, kHalves, kMin>(panel, n_in / kBlock, inputs + t, tile);
        for (int i = 0; i < n; ++i) std::memcpy(out + (t + i) * stride, tile + i * kVnniPanelRows, sizeof(float) * static_cast<size_t>(n_rows));
        t += n;
    }
}

}  // namespace

size_t vnni_panel_bytes(int n_in) { return static_cast<size_t>(n_in / kBlock) * sizeof(PanelBlock); }

void vnni_pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    if ((row_end - row_begin) % kHalf != 0) std::memset(panel, 0, vnni_panel_bytes(w.n_in));
    for_quantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; ++o)
            pack_row<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, o - row_begin, reinterpret_cast<PanelBlock*>(panel));
    });
}

void vnni_pack_tiles(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    for_quantized(w.type, [&]<TensorType kType>() {
        for (int o = row_begin, half = 0; o < row_end; o += kRowsPerTile, ++half)
            pack_tiles<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, half, reinterpret_cast<PanelBlock*>(panel));
    });
}

void vnni_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride) {
    const auto* blocks = reinterpret_cast<const PanelBlock*>(panel);
    const bool min = w.type == TensorType::kQ4_1 || w.type == TensorType::kQ5_1;
    const auto multiply = n_rows > kHalf ? (min ? multiply_tokens<2, true> : multiply_tokens<2, false>)
                                         : (min ? multiply_tokens<1, true> : multiply_tokens<1, false>);
    multiply(blocks, w.n_in, n_rows, inputs, n_tokens, out, stride);
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
