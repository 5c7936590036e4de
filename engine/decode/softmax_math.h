// Internal to the engine: exp in f64 from additions and multiplications only, so that scores are the same on every machine (libm differs in
// the last bit between versions and processors), written without branches so that the compiler vectorises it.
#pragma once

#include <bit>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>

#include "engine/routing/vec4.h"

namespace gs {

/// exp(x) for x <= 0, within 4 ulp; below -700 as exp(-700), which is about 1e-304. NaN is not allowed.
inline double exp_nonpositive(double x) {
    constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa0000p-1, kLn2Low = 0x1.cf79abc9e3b3ap-40;
    constexpr double kRound = 6755399441055744.0;   // 1.5 * 2^52: adding it leaves the nearest integer in the low mantissa bits
    x = x < -700.0 ? -700.0 : x;
    const double shifted = x * kLog2e + kRound;
    const double n = shifted - kRound;
    const double r = (x - n * kLn2High) - n * kLn2Low;   // |r| <= ln2 / 2
    // Taylor to the 13th power: the next term is under 2^-53 for |r| <= 0.3466.
    double sum = 1.0 / 6227020800.0;
    static constexpr double kFactorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    // Written out by the compiler: as a loop each step would divide.
    [&]<size_t... i>(std::index_sequence<i...>) { ((sum = sum * r + 1.0 / kFactorials[i]), ...); }(std::make_index_sequence<std::size(kFactorials)>());
    const auto bits = std::bit_cast<uint64_t>(sum) + (std::bit_cast<uint64_t>(shifted) << 52);
    return std::bit_cast<double>(bits);
}

/// The same in f32 for an array: within 2 ulp, 0 below -87.3.
inline void exp_nonpositive(std::span<float> values) {
    each4(values, 0, [](F4 x) { return exp_nonpositive(x); });
}

}  // namespace gs
