// The AVX-512 VNNI product of one token with weights in tiles, and the copying of weights into tiles.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "engine/core/check.h"
#include "engine/model/block_scales.h"
#include "engine/ops/cpu/vnni_input.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_sums.h"
#include "engine/ops/cpu/vnni_tiles.h"

namespace gs::cpu {
namespace {

template <TensorType kType>
void tile_rows(const uint8_t* rows, size_t row_bytes, int n_blocks, uint8_t* tile) {
    using T = Tile<kType>;
    constexpr int kFields = kBytes<kType> - (T::kBytesPlain ? 32 : 16);   // bytes in front of the values
    constexpr int kWords = T::kBytesPlain ? 8 : 4;
    for (int b = 0; b < n_blocks; ++b, rows += kBytes<kType>, tile += T::kSize)
        for (int r = 0; r < kRowsPerTile; ++r) {
            const uint8_t* block = rows + row_bytes * static_cast<size_t>(r);
            std::memcpy(tile + 2 * r, block, 2);
            if constexpr (kHasMin<kType>) std::memcpy(tile + T::kMin + 2 * r, block + 2, 2);
            if constexpr (kHasFifth<kType>) std::memcpy(tile + T::kFifth + 4 * r, block + kFields - 4, 4);
            for (int i = 0; i < kWords; ++i) {
                uint32_t word;
                std::memcpy(&word, block + kFields + 4 * i, sizeof word);
                if constexpr (T::kBytesPlain) word ^= 0x80808080u;        // value + 128
                std::memcpy(tile + T::kValues + 64 * i + 4 * r, &word, sizeof word);
            }
        }
}

/// 16 rows. In the order of multiply_panel (vnni_panel.cpp), so that a token has the same result alone and in a prompt.
template <TensorType kType>
inline __m512 multiply_tiles(const uint8_t* tile, int n_blocks, const PairInput* x, const RunInput* runs) {
    __m512 total = _mm512_setzero_ps();
    for (int b = 0; b < n_blocks; ++b, tile += Tile<kType>::kSize) {
        ask_far<Tile<kType>::kSize>(tile);   // groups of rows lie one behind the other
        __m512i w[8];
        load_tile<kType>(tile, w);
        const PairInput& pair = x[b / 2];
        const int side = b % 2;
        __m512i low = _mm512_set1_epi32(runs[b].start), high = _mm512_setzero_si512();
        for (int g = 0; g < 8; ++g) {
            low = _mm512_dpbusd_epi32(low, w[g], broadcast4(pair.low + side * kBlock + 4 * g));
            high = _mm512_dpbusd_epi32(high, w[g], broadcast4(pair.high + side * kBlock + 4 * g));
        }
        const __m512 sum = _mm512_cvtepi32_ps(_mm512_add_epi32(low, _mm512_slli_epi32(high, 7)));
        total = _mm512_fmadd_ps(sum, _mm512_mul_ps(tile_halves(tile, 0), _mm512_set1_ps(runs[b].scale)), total);
        if constexpr (kHasMin<kType>)
            total = _mm512_fmadd_ps(tile_halves(tile, Tile<kType>::kMin), _mm512_set1_ps(runs[b].sum), total);
    }
    return total;
}

}  // namespace

void vnni_tile(const Weight& w, int row_begin, int row_end, std::byte* tiles) {
    const auto* rows = reinterpret_cast<const uint8_t*>(w.data);
    auto* out = reinterpret_cast<uint8_t*>(tiles);
    for_tiled(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; o += kRowsPerTile) {
            const size_t at = w.row_bytes * static_cast<size_t>(o);
            tile_rows<kType>(rows + at, w.row_bytes, w.n_in / kBlock, out + at);
        }
    });
}

void vnni_gemv_tiles(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) {
    GS_CHECK(row_begin % kRowsPerTile == 0 && row_end % kRowsPerTile == 0, "a product with tiles takes whole groups of rows");
    const InputView x(input, w.n_in);
    for_tiled(w.type, [&]<TensorType kType>() {
        for (int o = row_begin; o < row_end; o += kRowsPerTile, out += kRowsPerTile)
            _mm512_storeu_ps(out, multiply_tiles<kType>(reinterpret_cast<const uint8_t*>(w.row(o)), w.n_in / kBlock, x.pairs, x.runs32));
    });
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
