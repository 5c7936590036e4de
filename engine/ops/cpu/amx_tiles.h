// The shapes of AMX tiles, and tiles in plain loops that do what the processor's do (Intel SDM: LDTILECFG, TILEZERO, TILELOADD, TDPBSUD,
// TILESTORED), so that what is written over tiles can be proven where there are none. A mistake that the processor answers with an exception is
// a broken contract here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/core/check.h"

namespace gs::cpu {

constexpr int kTiles = 8, kTileRows = 16, kTileRowBytes = 64;

struct TileShape {
    int rows = 0, row_bytes = 0;
};

/// What LDTILECFG reads.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};      ///< the second eight of both are reserved: 0
    uint8_t rows[16] = {};

    constexpr explicit TileConfig(const std::array<TileShape, kTiles>& shapes) {
        for (size_t i = 0; i < kTiles; ++i) {
            row_bytes[i] = static_cast<uint16_t>(shapes[i].row_bytes);
            rows[i] = static_cast<uint8_t>(shapes[i].rows);
        }
    }
};
static_assert(sizeof(TileConfig) == 64);

class EmulatedTiles {
public:
    explicit EmulatedTiles(const TileConfig& config) {
        GS_CHECK(config.palette == 1 && config.start_row == 0, "not palette 1 from its first row");
        for (uint8_t byte : config.reserved) GS_CHECK(byte == 0, "a reserved byte of a tile configuration is set");
        for (size_t i = 0; i < 16; ++i) {
            const TileShape shape{config.rows[i], config.row_bytes[i]};
            GS_CHECK(i < kTiles || (shape.rows == 0 && shape.row_bytes == 0), "there are eight tiles");
            GS_CHECK(shape.rows <= kTileRows && shape.row_bytes <= kTileRowBytes, "a tile has 16 rows of 64 bytes at most");
            if (i < kTiles) m_tiles[i].shape = shape;
        }
    }

    void zero(int tile) { std::memset(used(tile).bytes, 0, sizeof(Tile::bytes)); }

    /// What lies outside of the shape becomes 0.
    void load(int tile, const void* from, ptrdiff_t stride) {
        Tile& t = used(tile);
        zero(tile);
        for (int r = 0; r < t.shape.rows; ++r)
            std::memcpy(t.bytes[r], static_cast<const std::byte*>(from) + r * stride, static_cast<size_t>(t.shape.row_bytes));
    }

    void store(int tile, void* to, ptrdiff_t stride) {
        const Tile& t = used(tile);
        for (int r = 0; r < t.shape.rows; ++r)
            std::memcpy(static_cast<std::byte*>(to) + r * stride, t.bytes[r], static_cast<size_t>(t.shape.row_bytes));
    }

    /// TDPBSUD: sums[m][n] += the signed bytes of inputs[m] times the unsigned ones of weights, of which row k holds four for each n.
    void multiply(int sums, int inputs, int weights) {
        GS_CHECK(sums != inputs && sums != weights && inputs != weights, "the three tiles of a product must differ");
        Tile& c = used(sums);
        const Tile &a = used(inputs), &b = used(weights);
        GS_CHECK(c.shape.row_bytes % 4 == 0 && a.shape.row_bytes % 4 == 0 && b.shape.row_bytes % 4 == 0, "rows of a product hold fours of bytes");
        GS_CHECK(c.shape.rows == a.shape.rows && c.shape.row_bytes == b.shape.row_bytes && a.shape.row_bytes / 4 == b.shape.rows,
                 "the shapes of a product do not fit");
        for (int m = 0; m < c.shape.rows; ++m)
            for (int k = 0; k < a.shape.row_bytes / 4; ++k)
                for (int n = 0; n < c.shape.row_bytes / 4; ++n) add_four(c.bytes[m] + 4 * n, a.bytes[m] + 4 * k, b.bytes[k] + 4 * n);
    }

    // As HardwareTiles has them.
    template <int kTile>
    void zero() { zero(kTile); }
    template <int kTile>
    void load(const void* from, ptrdiff_t stride) { load(kTile, from, stride); }
    template <int kTile>
    void store(void* to, ptrdiff_t stride) { store(kTile, to, stride); }
    template <int kSums, int kInputs, int kWeights>
    void multiply() { multiply(kSums, kInputs, kWeights); }

private:
    struct Tile {
        TileShape shape;
        uint8_t bytes[kTileRows][kTileRowBytes] = {};
    };

    Tile& used(int tile) {
        GS_CHECK(tile >= 0 && tile < kTiles && m_tiles[tile].shape.rows > 0 && m_tiles[tile].shape.row_bytes > 0, "a tile without a shape");
        return m_tiles[tile];
    }

    /// Sums wrap around.
    static void add_four(uint8_t* sum, const uint8_t* inputs, const uint8_t* weights) {
        uint32_t total;
        std::memcpy(&total, sum, sizeof total);
        for (int i = 0; i < 4; ++i) total += static_cast<uint32_t>(static_cast<int8_t>(inputs[i]) * weights[i]);
        std::memcpy(sum, &total, sizeof total);
    }

    Tile m_tiles[kTiles];
};

}  // namespace gs::cpu
