// Weights in tiles: block b of 16 rows, field by field, so that one vector holds the rows side by side. A product then needs no sum across
// lanes, and one conversion of scales serves 16 rows. A tile is as large as the blocks it is made of and a group of 16 rows keeps its place, so
// that sizes, slabs and byte ranges stay those of the file. Private to vnni*.cpp, inside their target pragma.
#pragma once

#include "engine/ops/cpu/vnni_unpack.h"

namespace gs::cpu {
namespace {

/// Byte offsets in a tile; fields that a type lacks take no room.
template <TensorType kType>
struct Tile {
    static constexpr bool kBytesPlain = kType == TensorType::kQ8_0;
    static constexpr int kMin = 32;                                          // f16 [16], behind the scales
    static constexpr int kFifth = kMin + (kHasMin<kType> ? 32 : 0);          // u32 [16]
    static constexpr int kValues = kFifth + (kHasFifth<kType> ? 64 : 0);     // nibbles [4][16 rows][4], or value + 128 [8][16 rows][4]
    static constexpr int kSize = kRowsPerTile * kBytes<kType>;
    static_assert(kValues + kRowsPerTile * (kBytesPlain ? 32 : 16) == kSize);
};

/// The 32 values of 16 rows as unsigned bytes (value + 128): four values of every row a vector, in the order of the input.
template <TensorType kType>
inline void load_tile(const uint8_t* tile, __m512i* values) {
    const auto load = [&](int i) { return _mm512_loadu_si512(tile + Tile<kType>::kValues + 64 * i); };
    if constexpr (Tile<kType>::kBytesPlain) {
        for (int g = 0; g < 8; ++g) values[g] = load(g);
    } else {
        const __m512i table = nibble_table<kType>(), low = _mm512_set1_epi8(15);
        for (int j = 0; j < 4; ++j) {
            const __m512i bytes = load(j);
            values[j] = _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, low));
            values[4 + j] = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bytes, 4), low));
        }
    }
    if constexpr (kHasFifth<kType>) {
        // 16 in each byte whose bit of the lane's index is set.
        const __m512i spread = _mm512_setr_epi32(0, 0x10, 0x1000, 0x1010, 0x100000, 0x100010, 0x101000, 0x101010, 0x10000000, 0x10000010,
                                                 0x10001000, 0x10001010, 0x10100000, 0x10100010, 0x10101000, 0x10101010);
        const __m512i bits = _mm512_loadu_si512(tile + Tile<kType>::kFifth);
        for (int g = 0; g < 8; ++g)
            values[g] = _mm512_add_epi8(values[g], _mm512_permutexvar_epi32(_mm512_srl_epi32(bits, _mm_cvtsi32_si128(4 * g)), spread));
    }
}

/// An f16 field of 16 rows: 0 the scale, Tile::kMin the minimum.
inline __m512 tile_halves(const uint8_t* tile, int offset) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + offset)));
}

/// Calls f.template operator()<type>() for a type that has_tiles.
template <class F>
void for_tiled(TensorType type, const F& f) {
    GS_CHECK(has_tiles(type), "not a type with tiles");
    for_small(type, [&]<TensorType kType>() {
        if constexpr (kType != TensorType::kMXFP4) f.template operator()<kType>();
    });
}

}  // namespace
}  // namespace gs::cpu
