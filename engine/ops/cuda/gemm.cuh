// Products with many tokens, in tiles: whole batches (linear.cuh), and batches whose tokens are grouped by expert (moe.cuh).
//
// Which product, and why. In the exact precision, and for weights in F32, F16 and BF16 in both, inputs stay f32 and products are f32 (kF32). In the fast
// precision quantized weights meet inputs rounded to 15 bits a block of 32 (kInt8), the same integers as on the CPU: q = 128 high + low, two int8 products
// on tensor cores are exact, and one multiplication by both scales a run of 32 (or 16) follows. bf16 cannot have that precision in one product: its eight
// bits would round scaled weights; as unscaled whole numbers they are exact in bf16 too, but with inputs in two terms of eight bits this is twice the tensor
// work of int8 on data-centre devices and four times on others, for inputs no better than 16 bits.
#pragma once

#include <cuda_runtime.h>

#include <span>

#include "engine/ops/cuda/linear.cuh"

namespace gs::cuda {

enum class Product : uint8_t { kF32, kInt8 };
inline Product product_of(Format format, Precision precision) {
    return precision == Precision::kFast && !is_plain(format) ? Product::kInt8 : Product::kF32;
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
/// Any stride; n_in need not be whole groups. A group with an infinity or without a number gets a scale without one.
void quantize_rows(cudaStream_t stream, Rows x, const Int8Input& input);

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
void gemm_f32(cudaStream_t stream, Rows x, const RowGroups& groups, const GemmCall& call);
/// Quantized formats only.
void gemm_int8(cudaStream_t stream, const Int8Input& input, const RowGroups& groups, const GemmCall& call);
/// By the format and precision: x for the one, input for the other.
void gemm(cudaStream_t stream, Rows x, const Int8Input& input, const RowGroups& groups, const GemmCall& call, Precision precision);

/// linear() of many tokens.
void gemm_linear(cudaStream_t stream, Rows x, std::span<const DeviceLinear> calls, Precision precision, std::byte* workspace);

}  // namespace gs::cuda
