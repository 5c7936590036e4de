// One token's input as the AVX-512 VNNI product reads it. Private to vnni*.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/ops/cpu/kernels.h"

// g++ 12 takes the deliberately undefined pass-through operands of its own AVX-512 intrinsics for mistakes (gcc.gnu.org PR105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace gs::cpu {

/// Two blocks of one token. Every vector is laid out as the lanes of a product meet it.
struct alignas(64) PairInput {
    int8_t high[64], low[64];   ///< q = 128 high + low
    int32_t start[16];          ///< -128 times the sum of the four q of each lane
    float scale[16];            ///< scale of block 0 in lanes 0..7, of block 1 in 8..15
    float sum[16];              ///< scale * Σ q in lanes 0 and 8, else 0: what a block's minimum multiplies
};

inline int pairs_of(int n_in) { return (n_in / kBlock + 1) / 2; }

/// Behind the pairs, for panels: -128 Σ q of every block.
inline const int32_t* starts_of(const std::byte* input, int n_pairs) {
    return reinterpret_cast<const int32_t*>(input + sizeof(PairInput) * static_cast<size_t>(n_pairs));
}

// vnni_panel.cpp
size_t vnni_panel_bytes(int n_in);
void vnni_pack(const Weight& w, int row_begin, int row_end, std::byte* panel);
void vnni_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride);
void vnni_pack_tiles(const Weight& w, int row_begin, int row_end, std::byte* panel);
constexpr int kVnniPanelRows = 32;

// vnni_tiles.cpp
void vnni_tile(const Weight& w, int row_begin, int row_end, std::byte* tiles);
void vnni_gemv_tiles(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out);

}  // namespace gs::cpu
