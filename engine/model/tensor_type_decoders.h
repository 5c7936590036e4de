// Decoders of quantized blocks, one a row of the table in tensor_type.cpp, and the field readers they share. Private to tensor_type*.cpp.
//
// Blocks of 17 to 210 bytes are not aligned to anything: every field goes through memcpy (spec/gguf.md section 4). Scales are multiplied together
// before they meet a value, as in the formulas there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/model/tensor_type.h"

namespace gs {

inline uint16_t load_u16(const std::byte* p) {
    uint16_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline uint32_t load_u32(const std::byte* p) {
    uint32_t v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

inline float load_half(const std::byte* p) { return half_to_float(load_u16(p)); }
inline int load_byte(const std::byte* p) { return std::to_integer<int>(*p); }

inline int low_nibble(std::byte b) { return std::to_integer<int>(b) & 15; }
inline int high_nibble(std::byte b) { return std::to_integer<int>(b) >> 4; }

// tensor_type_small.cpp: blocks of 32, 64 and 128 values.
void dequantize_q4_0(const std::byte* in, size_t n, float* out);
void dequantize_q4_1(const std::byte* in, size_t n, float* out);
void dequantize_q5_0(const std::byte* in, size_t n, float* out);
void dequantize_q5_1(const std::byte* in, size_t n, float* out);
void dequantize_q8_0(const std::byte* in, size_t n, float* out);
void dequantize_iq4_nl(const std::byte* in, size_t n, float* out);
void dequantize_mxfp4(const std::byte* in, size_t n, float* out);
void dequantize_nvfp4(const std::byte* in, size_t n, float* out);
void dequantize_q1_0(const std::byte* in, size_t n, float* out);
void dequantize_q2_0(const std::byte* in, size_t n, float* out);

// tensor_type_k.cpp: blocks of 256 values with scales of their own for every 16 or 32, and ternary ones.
void dequantize_q2_k(const std::byte* in, size_t n, float* out);
void dequantize_q3_k(const std::byte* in, size_t n, float* out);
void dequantize_q4_k(const std::byte* in, size_t n, float* out);
void dequantize_q5_k(const std::byte* in, size_t n, float* out);
void dequantize_q6_k(const std::byte* in, size_t n, float* out);
void dequantize_iq4_xs(const std::byte* in, size_t n, float* out);
void dequantize_tq1_0(const std::byte* in, size_t n, float* out);
void dequantize_tq2_0(const std::byte* in, size_t n, float* out);

// tensor_type_iq.cpp: blocks of 256 values by code book.
void dequantize_iq2_xxs(const std::byte* in, size_t n, float* out);
void dequantize_iq2_xs(const std::byte* in, size_t n, float* out);
void dequantize_iq2_s(const std::byte* in, size_t n, float* out);
void dequantize_iq3_xxs(const std::byte* in, size_t n, float* out);
void dequantize_iq3_s(const std::byte* in, size_t n, float* out);
void dequantize_iq1_s(const std::byte* in, size_t n, float* out);
void dequantize_iq1_m(const std::byte* in, size_t n, float* out);

}  // namespace gs
