// Noise for noisy top-k gating: a pure function of (seed, position, layer, expert), the same to the bit on every back end and in what-ifs.
//
// Counter-based: the counters are hashed (SplitMix64's finaliser, Steele et al. 2014), and the sum of eight 16-bit numbers of two hashes is brought to mean 0 and
// variance 1 (Irwin-Hall). Sums of integers are exact, what is left is one rounded product, so that no library's logarithm or cosine decides who is chosen.
// Against a normal distribution: excess kurtosis -0.15, never beyond 4.9, cumulative probabilities off by at most 0.004.
#pragma once

#include <cmath>
#include <cstdint>

namespace gs {

#if defined(__CUDACC__)
#define GS_ON_BOTH __host__ __device__
#else
#define GS_ON_BOTH
#endif

GS_ON_BOTH inline uint64_t mix_bits(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

GS_ON_BOTH inline int32_t sum_of_quarters(uint64_t x) {
    return static_cast<int32_t>((x & 0xffff) + (x >> 16 & 0xffff) + (x >> 32 & 0xffff) + (x >> 48));
}

/// Mean 0, variance 1.
GS_ON_BOTH inline float gate_noise(uint32_t seed, int position, int layer, int expert) {
    constexpr uint64_t kStep = 0x9e3779b97f4a7c15u;      // SplitMix64's
    constexpr int32_t kMean = 4 * 0xffff;                // eight times half of the largest
    constexpr float kInverseDeviation = 1.8688124e-5f;   // 1 / sqrt(8 (2^32 - 1) / 12)
    const uint64_t where = static_cast<uint64_t>(static_cast<uint32_t>(position)) << 32 | static_cast<uint32_t>(layer) << 16 | static_cast<uint32_t>(expert);
    const uint64_t state = mix_bits(mix_bits(seed + kStep) ^ where);
    const int32_t sum = sum_of_quarters(mix_bits(state + kStep)) + sum_of_quarters(mix_bits(state + 2 * kStep));
    return static_cast<float>(sum - kMean) * kInverseDeviation;
}

/// One rounding, whatever a compiler makes of products and sums.
GS_ON_BOTH inline float noisy_logit(float logit, float deviation, uint32_t seed, int position, int layer, int expert) {
    return fmaf(deviation, gate_noise(seed, position, layer, expert), logit);
}

}  // namespace gs
