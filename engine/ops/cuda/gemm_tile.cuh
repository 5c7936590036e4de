// What the tiled products share. Private to gemm_*.cu.
#pragma once

#include "engine/ops/cuda/gemm.cuh"
#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"
#include "engine/ops/cuda/unpack.cuh"

namespace gs::cuda {

constexpr int kTileTokens = 64, kTileRows = 128, kTileThreads = 256;

struct TileArgs {
    DeviceMatrix weight;
    const float* bias;
    Rows out;
    RowGroups groups;
};

/// Tiles of tokens that any division of n_rows among the slabs needs no more than.
inline int most_tiles(int n_rows, const RowGroups& groups) {
    return groups.begin ? n_rows / kTileTokens + groups.n_slabs : ceil_div(n_rows, kTileTokens);
}

/// Blocks: tiles of tokens side by side, because they read the same weights.
inline dim3 tile_grid(const TileArgs& args) {
    return dim3(static_cast<unsigned>(most_tiles(args.out.n_rows, args.groups)), static_cast<unsigned>(ceil_div(args.weight.n_out, kTileRows)));
}

struct TileSpan {
    int slab, first, n;       ///< n <= 0: none
};

/// The rows of tile `tile`. Slab s has the tiles from begin[s] / kTileTokens + s on: as many as it can need lie before those of s + 1.
__device__ inline TileSpan tile_span(const TileArgs& args, int tile) {
    const int32_t* begin = args.groups.begin;
    if (!begin) return {0, tile * kTileTokens, min(kTileTokens, args.out.n_rows - tile * kTileTokens)};
    int low = 0, high = args.groups.n_slabs;   // the slab is in low .. high - 1
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (begin[middle] / kTileTokens + middle <= tile) low = middle;
        else high = middle;
    }
    const int first = begin[low] + (tile - begin[low] / kTileTokens - low) * kTileTokens;
    return {low, first, min(kTileTokens, begin[low + 1] - first)};
}

/// Where row `row` of a product gets its input from.
__device__ inline int source_row(const TileArgs& args, int row) { return args.groups.source ? args.groups.source[row] : row; }

__device__ inline void store_value(const TileArgs& args, int slab, int row, int o, float sum) {
    if (args.groups.factor) sum *= args.groups.factor[row];
    if (args.bias) sum += args.bias[static_cast<size_t>(slab) * static_cast<size_t>(args.weight.n_out) + static_cast<size_t>(o)];
    row_of(args.out, row)[o] = sum;
}

// Stages of the tensor core products in shared memory: rows of 64 bytes of k.
constexpr int kStageBytes = 64;

/// Where 16 bytes of k (`piece` of 4) of a row are. Rows of 64 bytes two apart would meet the same banks: pieces change places from row to row.
__device__ inline int piece_at(int row, int piece) { return row * kStageBytes + (piece ^ (row >> 1 & 3)) * 16; }
/// Word `word` (of 16) of a row of k.
__device__ inline uint32_t word_at(const void* rows, int row, int word) {
    return *reinterpret_cast<const uint32_t*>(static_cast<const char*>(rows) + piece_at(row, word / 4) + word % 4 * 4);
}

}  // namespace gs::cuda
