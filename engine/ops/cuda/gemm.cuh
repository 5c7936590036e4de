// Products with many tokens, in tiles: whole batches (linear.cuh), and batches whose tokens are grouped by expert (moe.cuh).
//
// Which product, and why.
//   kF32    the exact precision, whatever the weights, and F32 weights in both: f32 inputs, f32 products.
//   kInt8   the fast precision, quantized weights: inputs rounded to 15 bits a block of 32, the same integers as on the CPU. q = 128 high + low, two int8
//           products on tensor cores are exact, and one multiplication by both scales a run of 32 (or 16) follows. bf16 cannot have that precision in one
//           product: its eight bits would round scaled weights; as unscaled whole numbers they are exact in bf16 too, but with inputs in two terms of eight
//           bits this is twice the tensor work of int8 on data-centre devices and four times on others, for inputs no better than 16 bits.
//   kHalf   the fast precision, F16 weights, which are not rounded, so that inputs may not be either: two terms of eleven bits, after the row has been
//           scaled by a power of two to fit into the range, are 22 bits of each value down to 2^-16 of the row's largest, and 2^-38 of that below.
//   kBfloat the fast precision, BF16 weights, likewise: three terms of eight bits are all 24 bits of a float.
// In terms of tensor work on an A100 these are 312 / 2 and 312 / 3 TFLOP/s beside 19.5 of f32 without tensor cores; on a device for players, 165 / 2 and
// 165 / 3 beside 82. F32 weights would need six products of bf16, which is no gain there: they stay with kF32.
#pragma once

#include <cuda_runtime.h>

#include <initializer_list>
#include <span>

#include "engine/ops/cuda/linear.cuh"

namespace gs::cuda {

enum class Product : uint8_t { kF32, kInt8, kHalf, kBfloat };
inline Product product_of(Format format, Precision precision) {
    if (precision == Precision::kExact || format == Format::kF32) return Product::kF32;
    return format == Format::kF16 ? Product::kHalf : format == Format::kBF16 ? Product::kBfloat : Product::kInt8;
}

/// Rows rounded for the integer product, in device memory.
struct Int8Input {
    int8_t *high = nullptr, *low = nullptr;   ///< [n_rows, 32 n_groups]: q = 128 high + low, zeros beyond n_in
    float* scale = nullptr;                   ///< [n_rows, n_groups]
    float* sum = nullptr;                     ///< [n_rows, 2 n_groups]: scale * Σ q of every 16
    int n_groups = 0;

    Int8Input() = default;
    /// Over workspace of n_bytes(n_rows, n_in), aligned to 16.
    Int8Input(std::byte* workspace, int n_rows, int n_in);
    static size_t n_bytes(int n_rows, int n_in);
};

/// Rows as sums of terms of 16 bits, in device memory.
struct SplitInput {
    uint16_t* terms = nullptr;                ///< [n_terms, n_rows, 32 n_groups], zeros beyond n_in
    float* scale = nullptr;                   ///< [n_rows]: value = scale * Σ terms
    int n_groups = 0, n_rows = 0, n_terms = 0;

    SplitInput() = default;
    SplitInput(std::byte* workspace, int n_rows, int n_in, int n_terms);
    static size_t n_bytes(int n_rows, int n_in, int n_terms);
};
constexpr int kHalfTerms = 2, kBfloatTerms = 3;

/// Which forms of an input some products need.
class Products {
public:
    Products() = default;
    Products(std::initializer_list<const DeviceMatrix*> weights, Precision precision) {
        for (const DeviceMatrix* w : weights) add(product_of(w->format, precision));
    }
    void add(Product p) { m_bits |= 1u << static_cast<int>(p); }
    void add(const Products& other) { m_bits |= other.m_bits; }
    bool has(Product p) const { return (m_bits >> static_cast<int>(p) & 1u) != 0; }

private:
    unsigned m_bits = 0;
};

/// An input in all forms that its products need.
struct GemmInput {
    Rows x;
    Int8Input int8;
    SplitInput halves, bfloats;

    GemmInput() = default;
    /// Over workspace of n_bytes() of the same, aligned to 16.
    GemmInput(std::byte* workspace, Rows x, const Products& products);
    static size_t n_bytes(int n_rows, int n_in, const Products& products);
};
/// Fills the forms of input.x, any stride, n_in of any size; *n_rows rows of them, which is on the device; null: all. A group (kInt8) or row (kHalf) with
/// an infinity or what is no number becomes one without a number.
void prepare_input(cudaStream_t stream, const GemmInput& input, const int32_t* n_rows = nullptr);

/// Rows of a product gathered by slab: slab s takes rows begin[s] .. begin[s + 1] - 1, of which row i has input row source[i]. On the device.
struct RowGroups {
    const int32_t* begin = nullptr;           ///< null: all rows belong to slab 0, and are their own input
    const int32_t* source = nullptr;
    const float* factor = nullptr;            ///< a row's product is multiplied with it before the bias; null: 1
    int n_slabs = 1;
};

struct GemmCall {
    DeviceMatrix weight;
    const float* bias = nullptr;              ///< [n_slabs, n_out] on the device, or null
    Rows out;                                 ///< as many rows as there are at most; those beyond begin[n_slabs] are left alone
};

/// out = x Wᵀ * factor + bias, tile by tile. Sums in an order that depends on shapes only. Blocks for which there are no rows end at once, so that the
/// launch does not depend on how tokens chose.
void gemm(cudaStream_t stream, const GemmInput& input, const RowGroups& groups, const GemmCall& call, Precision precision);
// One each product; of the formats that product_of gives it.
void gemm_f32(cudaStream_t stream, Rows x, const RowGroups& groups, const GemmCall& call);
void gemm_int8(cudaStream_t stream, const Int8Input& input, const RowGroups& groups, const GemmCall& call);
void gemm_split(cudaStream_t stream, const SplitInput& input, const RowGroups& groups, const GemmCall& call);

/// linear() of many tokens.
void gemm_linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, std::byte* workspace);

}  // namespace gs::cuda
