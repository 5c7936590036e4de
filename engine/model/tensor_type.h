// Tensor encodings of GGUF: one table row a type (spec/gguf.md sections 3 and 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gs {

enum class TensorType : uint32_t {
    kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8, kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14,
    kIQ2_XXS = 16, kIQ2_XS = 17, kIQ3_XXS = 18, kIQ1_S = 19, kIQ4_NL = 20, kIQ3_S = 21, kIQ2_S = 22, kIQ4_XS = 23, kIQ1_M = 29, kBF16 = 30,
    kTQ1_0 = 34, kTQ2_0 = 35, kMXFP4 = 39, kNVFP4 = 40, kQ1_0 = 41, kQ2_0 = 42,
    // Known sizes only: activation formats and plain integers. Listed by `info`, refused by the loader with the type's name.
    kQ8_1 = 9, kQ8_K = 15, kI8 = 24, kI16 = 25, kI32 = 26, kI64 = 27, kF64 = 28,
};

struct TensorTypeInfo {
    TensorType type;
    const char* name;               ///< ggml's name: "q5_0", "q4_K"
    uint32_t block_values;          ///< values per block
    uint32_t block_bytes;
    /// Decodes n_blocks blocks into f32, bit-identical to the formulas of gguf.md section 4 (and to ggml's
    /// decoder where those end); null where weights of this type cannot be loaded.
    void (*dequantize)(const std::byte* blocks, size_t n_blocks, float* out);
};

/// The row of a type id as stored in a file; null when retired or unknown.
const TensorTypeInfo* find_tensor_type(uint32_t id);
const TensorTypeInfo& tensor_type_info(TensorType type);
std::span<const TensorTypeInfo> all_tensor_types();

float half_to_float(uint16_t h);    ///< IEEE binary16, subnormals included
uint16_t float_to_half(float f);    ///< round to nearest even
float bfloat16_to_float(uint16_t b);

}  // namespace gs
