// What the integer product without VNNI reads of a token, for the current Highway target. Included once a target by fast*.cpp.
#if defined(GS_FAST_INPUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_FAST_INPUT_INL_H_
#undef GS_FAST_INPUT_INL_H_
#else
#define GS_FAST_INPUT_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "engine/ops/cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {

/// One token: int16 q[n], then of every 32 values the scale and scale * Σ q (what a minimum multiplies), then both of every 16.
struct Input {
    const int16_t* q = nullptr;
    const float *scale32 = nullptr, *sum32 = nullptr, *scale16 = nullptr, *sum16 = nullptr;
    Input() = default;
    Input(const std::byte* p, int n_in)
        : q(reinterpret_cast<const int16_t*>(p)), scale32(reinterpret_cast<const float*>(p + 2 * static_cast<size_t>(n_in))),
          sum32(scale32 + n_in / kBlock), scale16(sum32 + n_in / kBlock), sum16(scale16 + n_in / kBlock * 2) {}
    /// Of runs of kRun values.
    template <int kRun>
    const float* scales() const { return kRun == 16 ? scale16 : scale32; }
    template <int kRun>
    const float* sums() const { return kRun == 16 ? sum16 : sum32; }
    static size_t n_bytes(int n_in) { return (static_cast<size_t>(n_in) * 2 + static_cast<size_t>(n_in / kBlock) * 24 + 63) / 64 * 64; }
};

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
