// Which Highway targets the loops are compiled for; include before any hwy header, in files that use foreach_target.h. The dispatch is our own
// (kernels.cpp): one Ops object keeps the set it was made with, so that tests hold several at once.
#pragma once

// g++ 12 takes the deliberately undefined pass-through operands of its own AVX-512 intrinsics for mistakes (gcc.gnu.org PR105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#if defined(__x86_64__)
// SSE4 is the least: Highway 1.0.3 has nothing between it and plain scalar code, for which the reference back end will do.
#define HWY_BASELINE_TARGETS HWY_SSE4
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#endif

/// Calls FUNC of the given target bit: FUNC must be exported with HWY_EXPORT.
#define GS_CALL_TARGET(FUNC, target, ...)                   \
    do {                                                    \
        hwy::ChosenTarget gs_chosen_;                       \
        gs_chosen_.Update(target);                          \
        HWY_DISPATCH_TABLE(FUNC)[gs_chosen_.GetIndex()](__VA_ARGS__); \
    } while (false)
