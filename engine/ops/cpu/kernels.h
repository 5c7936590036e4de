// The inner loops, one set an instruction set, as function pointers: what a thread does to rows. Which thread does which rows is cpu_ops.
//
// A product comes in two forms. gemv: weights read in place, for one token. pack + gemm: some rows of weights are unpacked into a panel, once for
// many tokens. In both a result depends on its row and its token only, never on the split into chunks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/kv_type.h"
#include "engine/model/weights.h"

namespace gs::cpu {

constexpr int kBlock = 32;        ///< values per quantization block
constexpr int kRowsPerTile = 16;     ///< rows that a tile holds side by side

/// The product of one precision.
struct MatmulKernels {
    int panel_rows = 0;           ///< rows of weights per panel; a multiple of 16
    /// Bytes of one token's input of n_in values in the form that gemv and gemm read; a multiple of 64.
    size_t (*input_bytes)(int n_in) = nullptr;
    void (*prepare)(const float* x, int n_in, std::byte* input) = nullptr;
    /// out[o - row_begin] = row o of w times the input, for row_begin <= o < row_end.
    void (*gemv)(const Weight& w, int row_begin, int row_end, const std::byte* input, float* out) = nullptr;
    /// Bytes of a panel; a multiple of 64. Panels are aligned to 64.
    size_t (*panel_bytes)(int n_in) = nullptr;
    /// row_end - row_begin <= panel_rows.
    void (*pack)(const Weight& w, int row_begin, int row_end, std::byte* panel) = nullptr;
    /// out[t * stride + r] = panel row r times inputs[t], for r < n_rows.
    void (*gemm)(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out,
                 ptrdiff_t stride) = nullptr;
};

/// The keys and values of one head, one position behind the other.
struct HeadKv {
    const std::byte* k = nullptr;
    const std::byte* v = nullptr;
    KvType type = KvType::kF32;
    int dk = 0, dv = 0, v_stride = 0;     ///< v_stride: values from one position to the next; keys are dk apart
};

constexpr int kHeadsAtOnce = 4;
/// Some query heads of one token over the keys of the head that they share.
struct HeadsCall {
    HeadKv kv;
    int n_heads = 0;              ///< 1..kHeadsAtOnce
    int n_keys = 0;
    const float* q = nullptr;     ///< [n_heads, dk]
    float scale = 0;
    float cap = 0;                ///< scores become cap tanh(score / cap); 0 = off
    const float* sinks = nullptr; ///< [n_heads] or null: takes exp(sink) of the softmax and gives no value
    float* scores = nullptr;      ///< scratch, n_heads times n_keys rounded up to 16
    float* out = nullptr;         ///< [n_heads, dv]
};

/// Many queries that share one key-value head: row r sees the first n_visible[r] keys without the first n_hidden[r].
struct QueryTile {
    const float* const* q = nullptr;      ///< [n_rows] pointers to [dk]
    float* const* out = nullptr;          ///< [n_rows] pointers to [dv]
    const int* n_hidden = nullptr;
    const int* n_visible = nullptr;       ///< ascending within the tile is not needed; each > n_hidden
    int n_rows = 0;
    HeadKv kv;
    float scale = 0, cap = 0;
    const float* sinks = nullptr;         ///< [n_rows] or null
    float* scratch = nullptr;             ///< query_tile_floats(n_rows, dk, dv) floats, aligned to 64
};

struct Kernels {
    std::string name;             ///< as GATESCOPE_SIMD takes it
    std::string title;            ///< for people
    MatmulKernels exact;          ///< f32 inputs, any weights
    MatmulKernels fast;           ///< inputs in blocks of 32 rounded to 15 bits; quantized weights only
    MatmulKernels tiled;          ///< fast with weights in tiles of kRowsPerTile rows: gemv takes whole groups; only where there is `tile`
    /// Whole groups of rows of a type that has_tiles into tiles, out[row_bytes * row]; null where the fast product reads rows as they are.
    void (*tile)(const Weight& w, int row_begin, int row_end, std::byte* out) = nullptr;

    void (*rms_norm)(const float* x, const float* weight, int n, float eps, float* out) = nullptr;
    /// out = act(gate, up), by Activation; out may be either.
    std::array<void (*)(const float* gate, const float* up, int n, float* out), 3> activate{};
    void (*add_scaled)(float* x, const float* y, int n, float scale) = nullptr;       ///< x += scale * y
    void (*set_scaled)(float* x, const float* y, int n, float scale) = nullptr;       ///< x = scale * y
    void (*rotate)(float* head, const float* cosines, const float* sines, int n_pairs, bool halves) = nullptr;
    void (*dequantize)(const Weight& w, int row, int slab, float* out) = nullptr;     ///< bit-identical to TensorTypeInfo's
    void (*attend_heads)(const HeadsCall& call) = nullptr;
    void (*attend_tile)(const QueryTile& tile) = nullptr;
    size_t (*query_tile_floats)(int n_rows, int dk, int dv) = nullptr;
    void (*to_half)(const float* x, int n, std::byte* halves) = nullptr;              ///< to nearest even
};

/// Best first; the names of what this processor runs.
std::vector<std::string> available_kernels();
/// The named set, or the best when the name is empty or not available here; none where the processor has too little.
std::optional<Kernels> choose_kernels(const std::string& name);

/// Whether the fast product takes this type: every quantized one (the others are multiplied in f32 always).
bool has_fast_product(TensorType type);
/// Whether there are tiles for it: blocks of 32 with an f16 scale.
bool has_tiles(TensorType type);

// One each file of loops; `target` is a Highway target bit.
void add_vector_kernels(Kernels& kernels, int64_t target);
void add_exact_kernels(Kernels& kernels, int64_t target);
void add_fast_kernels(Kernels& kernels, int64_t target);
void add_fast_panel_kernels(Kernels& kernels, int64_t target);
void add_attention_kernels(Kernels& kernels, int64_t target);
bool vnni_supported();
void add_vnni_kernels(Kernels& kernels);   ///< replaces the fast product; needs vnni_supported()
bool amx_supported();                      ///< asks the system for the tiles, once for the process
void add_amx_kernels(Kernels& kernels);    ///< replaces the VNNI product of panels; needs amx_supported()

}  // namespace gs::cpu
