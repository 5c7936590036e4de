// What this machine reads from memory, for the benches.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/ops/cpu/thread_pool.h"

namespace gs {

inline double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Best of some passes over 512 MB, all threads reading: GB/s.
inline double read_bandwidth(int n_threads) {
    std::vector<uint64_t> words(size_t{64} << 20, 1);
    ThreadPool pool(n_threads);
    constexpr int kChunks = 512;
    std::vector<uint64_t> sums(kChunks);
    double best = 0;
    for (int pass = 0; pass < 6; ++pass) {
        const double start = now();
        pool.run(kChunks, [&](int c, int) {
            const size_t n = words.size() / kChunks;
            uint64_t part[8] = {};
            for (size_t i = 0; i < n; i += 8)
                for (size_t j = 0; j < 8; ++j) part[j] += words[static_cast<size_t>(c) * n + i + j];
            for (const uint64_t p : part) sums[static_cast<size_t>(c)] += p;
        });
        best = std::max(best, static_cast<double>(words.size()) * 8 / (now() - start) / 1e9);
    }
    return sums[0] == 0 ? 0 : best;
}

}  // namespace gs
