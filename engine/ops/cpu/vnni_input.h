// One token's input as the AVX-512 VNNI product reads it, and what vnni*.cpp share. Private to them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/ops/cpu/code_books.h"
#include "engine/ops/cpu/kernels.h"

// g++ 12 takes the deliberately undefined pass-through operands of its own AVX-512 intrinsics for mistakes (gcc.gnu.org PR105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace gs::cpu {

constexpr int kSuper = 256;   ///< values per super-block

/// Two blocks of one token. Every vector is laid out as the lanes of a product meet it.
struct alignas(64) PairInput {
    int8_t high[64], low[64];   ///< q = 128 high + low
    int32_t start[16];          ///< minus the sum of the four q of each lane
    float scale[16];            ///< scale of block 0 in lanes 0..7, of block 1 in 8..15
    float sum[16];              ///< scale * Σ q in lanes 0 and 8, else 0: what a block's minimum multiplies
};

/// Eight blocks of one token: what the minima of a super-block multiply.
struct alignas(64) SuperInput {
    float sum16[16];            ///< scale * Σ q of each 16 values
    float sum32[16];            ///< of each 32 values in lanes 8..15, else 0
};

/// Where the parts of an input of n_in values are: pairs, super-blocks, then for panels -128 Σ q of every 32 and of every 16 values.
struct InputView {
    const PairInput* pairs;
    const SuperInput* supers;
    const int32_t *starts32, *starts16;

    InputView(const std::byte* input, int n_in);
    template <int kRun>
    const int32_t* starts() const { return kRun == 16 ? starts16 : starts32; }
};

inline int pairs_of(int n_in) { return (n_in / kBlock + 1) / 2; }
inline int supers_of(int n_in) { return (n_in + kSuper - 1) / kSuper; }

inline InputView::InputView(const std::byte* input, int n_in)
    : pairs(reinterpret_cast<const PairInput*>(input)), supers(reinterpret_cast<const SuperInput*>(pairs + pairs_of(n_in))),
      starts32(reinterpret_cast<const int32_t*>(supers + supers_of(n_in))), starts16(starts32 + 2 * pairs_of(n_in)) {}

// vnni_super.cpp
bool is_super(TensorType type);   ///< quantized in blocks of more than kBlock values
void vnni_super_gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out);

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
