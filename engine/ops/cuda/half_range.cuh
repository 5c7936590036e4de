// Bringing rows into the range of halves. Private to gemm.cu and attention_prompt.cu.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace gs::cuda {

/// The power of two that brings `largest` to 2^13 .. 2^14, so that a half has eleven bits of what is 2^-27 of it; no number for what is none.
__device__ inline float half_range_scale(float largest) {
    if (!(largest < 3e38f)) return __uint_as_float(0x7fc00000u);
    const int exponent = static_cast<int>(__float_as_uint(largest) >> 23);            // of 1.m 2^(e - 127)
    return __uint_as_float(static_cast<uint32_t>(min(254, 127 + 127 + 13 - exponent)) << 23);   // smaller rows lose nothing that matters in f32
}

}  // namespace gs::cuda
