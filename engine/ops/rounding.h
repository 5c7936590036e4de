// Rounding of activations for the integer products: the same integers on every back end and instruction set.
#pragma once

namespace gs {

/// The largest magnitude after rounding: 127 * 128, so that q = 128 h + l with h in -127..127 and l in -64..63 (two int8 terms).
constexpr float kLargestRounded = 127 * 128;

/// What a block is multiplied with before rounding to the nearest integer (even on a tie), given its largest magnitude. Blocks too small for
/// an f32 quotient become zero, and so do those with infinities: their scale says so.
#if defined(__CUDACC__)
__host__ __device__
#endif
inline float rounding_inverse(float largest) { return largest > 1e-30f && largest < 3e38f ? kLargestRounded / largest : 0.0f; }

}  // namespace gs
