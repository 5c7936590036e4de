// Panels for the AVX-512 VNNI product: 32 rows unpacked once, to be multiplied with many tokens (vnni_gemm.cpp).
#include "engine/ops/cpu/vnni_input.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#include "engine/core/check.h"
#include "engine/model/block_scales.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_panel.h"
#include "engine/ops/cpu/vnni_tiles.h"
#include "engine/ops/cpu/vnni_unpack_super.h"
#include "engine/ops/cpu/vnni_transpose.h"

namespace gs::cpu {
namespace {

/// Asks for what the next panel will be made of, to be there when the products with this one are done.
inline void fetch_ahead(const uint8_t* block, size_t row_bytes, int n_bytes) {
    const uint8_t* next = block + kVnniPanelRows * row_bytes;
    for (int i = 0; i < n_bytes; i += 64) _mm_prefetch(next + i, _MM_HINT_T1);
}

/// One 16-row half of a panel from rows of blocks of 32; missing rows are zero.
template <TensorType kType>
void pack_small(const uint8_t* rows, size_t row_bytes, int n_rows, int n_blocks, int half, PanelRun<32>* panel) {
    for (int b = 0; b < n_blocks; b += 2, rows += 2 * kBytes<kType>) {
        const int n = std::min(2, n_blocks - b);
        __m512i vectors[kHalf];
        for (int r = 0; r < kHalf; ++r) {
            const uint8_t* block = rows + row_bytes * static_cast<size_t>(r);
            fetch_ahead(block, row_bytes, 2 * kBytes<kType>);
            vectors[r] = r >= n_rows ? _mm512_setzero_si512() : n == 2 ? load_pair<kType>(block) : load_single<kType>(block);
            for (int i = 0; i < n; ++i, block += kBytes<kType>) {
                panel[b + i].scale[half][r] = r < n_rows ? block_scale<kType>(block) : 0.0f;
                panel[b + i].min[half][r] = kHasMin<kType> && r < n_rows ? half_at(block + 2) : 0.0f;
            }
        }
        transpose(vectors);
        for (int g = 0; g < 8 * n; ++g) _mm512_store_si512(panel[b + g / 8].values[half][g % 8], vectors[g]);
    }
}

/// The quarters of a block of 16 rows, from kQuarter on.
template <TensorType kType, int kQuarter>
void pack_quarters(const OpenSuper<kType>* blocks, int n_rows, int half, PanelRun<Super<kType>::kRun>* panel) {
    constexpr int kGroups = Super<kType>::kRun / 4;
    __m512i vectors[kHalf];
    for (int r = 0; r < kHalf; ++r)
        vectors[r] = r < n_rows ? blocks[r].template quarter<kQuarter>() : _mm512_setzero_si512();
    transpose(vectors);
    const __m512i up = _mm512_set1_epi8(static_cast<char>(Super<kType>::kRaised != 0 ? 0 : 128));
    for (int g = 0; g < 16; ++g) _mm512_store_si512(panel[g / kGroups].values[half][g % kGroups], _mm512_add_epi8(vectors[g], up));
    if constexpr (kQuarter + 1 < Super<kType>::kQuarters) pack_quarters<kType, kQuarter + 1>(blocks, n_rows, half, panel + 16 / kGroups);
}

/// The same from rows of super-blocks.
template <TensorType kType>
void pack_super(const uint8_t* rows, size_t row_bytes, int n_rows, int n_blocks, int half, PanelRun<Super<kType>::kRun>* panel) {
    using S = Super<kType>;
    constexpr int kRuns = S::kValues / S::kRun;
    for (int b = 0; b < n_blocks; ++b, rows += S::kBytes, panel += kRuns) {
        OpenSuper<kType> open[kHalf];
        for (int r = 0; r < n_rows; ++r) open[r].open(rows + row_bytes * static_cast<size_t>(r));
        pack_quarters<kType, 0>(open, n_rows, half, panel);
        __m512i scales[kHalf], minima[kHalf];
        for (int r = 0; r < kHalf; ++r) {
            const uint8_t* block = rows + row_bytes * static_cast<size_t>(r);
            fetch_ahead(block, row_bytes, S::kBytes);
            scales[r] = r < n_rows ? _mm512_castps_si512(super_scales<kType>(block)) : _mm512_setzero_si512();
            minima[r] = _mm512_setzero_si512();
            if constexpr (kType == TensorType::kQ2_K)
                if (r < n_rows) minima[r] = _mm512_castps_si512(q2_minima(block));
        }
        transpose(scales);
        if constexpr (kType == TensorType::kQ2_K) transpose(minima);
        for (int s = 0; s < kRuns; ++s) {
            _mm512_store_si512(panel[s].scale[half], scales[s]);
            _mm512_store_si512(panel[s].min[half], kMinimaBehindScales<kType> ? scales[(s + 8) % kHalf] : minima[s]);
        }
    }
}

template <TensorType kType>
void pack_tiles(const uint8_t* tile, int n_blocks, int half, PanelRun<32>* panel) {
    for (int b = 0; b < n_blocks; ++b, tile += Tile<kType>::kSize) {
        __m512i values[8];
        load_tile<kType>(tile, values);
        for (int g = 0; g < 8; ++g) _mm512_store_si512(panel[b].values[half][g], values[g]);
        _mm512_store_ps(panel[b].scale[half], tile_halves(tile, 0));
        if constexpr (kHasMin<kType>) _mm512_store_ps(panel[b].min[half], tile_halves(tile, Tile<kType>::kMin));
    }
}

}  // namespace

/// Enough for the short runs, which have more scales.
size_t vnni_panel_bytes(int n_in) { return static_cast<size_t>(n_in / kBlock) * 2 * sizeof(PanelRun<16>); }

void vnni_pack(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    for (int half = 0; half < 2 && row_begin + half * kHalf < row_end; ++half) {
        const int first = row_begin + half * kHalf, n_rows = std::min(kHalf, row_end - first);
        const auto* rows = reinterpret_cast<const uint8_t*>(w.row(first));
        if (is_super(w.type))
            for_super(w.type, [&]<TensorType kType>() {
                pack_super<kType>(rows, w.row_bytes, n_rows, w.n_in / Super<kType>::kValues, half, reinterpret_cast<PanelRun<Super<kType>::kRun>*>(panel));
            });
        else
            for_small(w.type, [&]<TensorType kType>() {
                pack_small<kType>(rows, w.row_bytes, n_rows, w.n_in / kBlock, half, reinterpret_cast<PanelRun<32>*>(panel));
            });
    }
}

void vnni_pack_tiles(const Weight& w, int row_begin, int row_end, std::byte* panel) {
    for_tiled(w.type, [&]<TensorType kType>() {
        for (int o = row_begin, half = 0; o < row_end; o += kRowsPerTile, ++half)
            pack_tiles<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, half, reinterpret_cast<PanelRun<32>*>(panel));
    });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
