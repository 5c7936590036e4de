// One token's input as the AVX-512 VNNI product reads it, and what vnni*.cpp share. Private to them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/ops/cpu/code_books.h"
#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/type_list.h"

// g++ 12 takes the deliberately undefined pass-through operands of its own AVX-512 intrinsics for mistakes (gcc.gnu.org PR105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

namespace gs::cpu {

constexpr int kSuper = 256;   ///< values per super-block

/// Two blocks of one token: q = 128 high + low.
struct alignas(64) PairInput {
    int8_t high[64], low[64];
};

/// Of two blocks, for a product with rows as they are: laid out as the lanes meet it, lanes 0..7 the first block, 8..15 the second.
struct alignas(64) PairLanes {
    int32_t start[16];          ///< minus the sum of the four q of each lane
    float scale[16];
    float sum[16];              ///< scale * Σ q in lanes 0 and 8, else 0: what a block's minimum multiplies
};

/// Of eight blocks, for bytes that hold a value of one run and one of the next: vector v has values 8v..8v+7 of each of the eight runs, so that a
/// lane meets one run only and sums stay integers to the end of the super-block.
struct alignas(64) SpreadInput {
    int8_t high[4][64], low[4][64];
};

/// Of eight blocks: what the scales and the minima of a super-block multiply.
struct alignas(64) SuperInput {
    float scale16[16];          ///< scale of each 16 values (two lanes a block)
    float scale32[16];          ///< of each 32 values in lanes 0..7, else 0
    float scale_nibbles[16];    ///< the same, a sixteenth of it for odd runs: those of upper nibbles left where they are
    float sum16[16];            ///< scale * Σ q of each 16 values
    float sum32[16];            ///< of each 32 values in lanes 8..15, else 0
};

/// Of 32 or 16 values, for panels and tiles: few bytes, because a panel meets those of many tokens.
struct RunInput {
    float scale, sum;           ///< sum = scale * Σ q
    int32_t start;              ///< -128 Σ q
};

/// Where the parts of an input of n_in values are.
struct InputView {
    const PairInput* pairs = nullptr;
    const PairLanes* lanes = nullptr;
    const SpreadInput* spreads = nullptr;
    const SuperInput* supers = nullptr;
    const RunInput *runs32 = nullptr, *runs16 = nullptr;

    InputView() = default;
    InputView(const std::byte* input, int n_in);
    template <int kRun>
    const RunInput* runs() const { return kRun == 16 ? runs16 : runs32; }
    static size_t n_bytes(int n_in);
};

inline int pairs_of(int n_in) { return (n_in / kBlock + 1) / 2; }
inline int supers_of(int n_in) { return (n_in + kSuper - 1) / kSuper; }

inline InputView::InputView(const std::byte* input, int n_in)
    : pairs(reinterpret_cast<const PairInput*>(input)), lanes(reinterpret_cast<const PairLanes*>(pairs + pairs_of(n_in))),
      spreads(reinterpret_cast<const SpreadInput*>(lanes + pairs_of(n_in))),
      supers(reinterpret_cast<const SuperInput*>(spreads + supers_of(n_in))), runs32(reinterpret_cast<const RunInput*>(supers + supers_of(n_in))),
      runs16(runs32 + 2 * pairs_of(n_in)) {}

inline size_t InputView::n_bytes(int n_in) {
    const auto n_pairs = static_cast<size_t>(pairs_of(n_in)), n_supers = static_cast<size_t>(supers_of(n_in));
    return n_pairs * (sizeof(PairInput) + sizeof(PairLanes)) + n_supers * (sizeof(SpreadInput) + sizeof(SuperInput)) +
           (n_pairs * 6 * sizeof(RunInput) + 63) / 64 * 64;
}

// vnni_super.cpp
bool is_super(TensorType type);   ///< quantized in blocks of more than kBlock values
void vnni_super_gemv(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out);

// vnni_panel.cpp, vnni_gemm.cpp
size_t vnni_panel_bytes(int n_in);
void vnni_pack(const Weight& w, int row_begin, int row_end, std::byte* panel);
void vnni_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out, ptrdiff_t stride);
void vnni_pack_tiles(const Weight& w, int row_begin, int row_end, std::byte* panel);
constexpr int kVnniPanelRows = 32;
// vnni_agree.cpp
/// Whether another gemm for the same panels gives the same, to the bit, for runs of both lengths with and without minima; milliseconds.
bool agrees_with_vnni_gemm(decltype(MatmulKernels::gemm) gemm);

// vnni_amx_emulated.cpp
/// MatmulKernels::gemm as AMX would do it, without AMX; for tests.
void amx_emulated_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out,
                       ptrdiff_t stride);

// vnni_tiles.cpp
void vnni_tile(const Weight& w, int row_begin, int row_end, std::byte* tiles);
void vnni_gemv_tiles(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out);

}  // namespace gs::cpu
