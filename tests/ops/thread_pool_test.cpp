#include "engine/ops/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>

namespace gs {
namespace {

TEST(ThreadPool, RunsEveryChunkOnceInEveryRegion) {
    for (const int n_threads : {1, 2, 3, 5}) {
        ThreadPool pool(n_threads);
        ASSERT_LE(pool.n_threads(), n_threads);
        for (int region = 0; region < 3000; ++region) {
            const int n = region % 17;
            std::vector<int> seen(static_cast<size_t>(n), 0);
            pool.run(n, [&](int chunk, int thread) {
                seen[static_cast<size_t>(chunk)] += 1;
                EXPECT_LT(thread, n_threads);
            });
            EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), n);
        }
    }
}

TEST(ThreadPool, WakesThreadsThatHaveGoneToSleep) {
    ThreadPool pool(2);
    for (int i = 0; i < 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        // Both chunks wait for each other: they end only if the other thread comes.
        std::atomic<int> arrived{0};
        pool.run(2, [&](int, int) {
            ++arrived;
            while (arrived.load() < 2) std::this_thread::yield();
        });
        EXPECT_EQ(arrived.load(), 2);
    }
}

TEST(ThreadPool, AThreadThatIsAwayHoldsUpItsOwnChunkOnly) {
    ThreadPool pool(2);
    std::atomic<int> done{0};
    pool.run(100, [&](int chunk, int) {
        // Whoever has chunk 0 stays until the other has done all the rest.
        if (chunk == 0)
            while (done.load() < 99) std::this_thread::yield();
        ++done;
    });
    EXPECT_EQ(done.load(), 100);
}

TEST(ThreadPool, MoreChunksThanOneTicketHoldsAreRunInTurns) {
    ThreadPool pool(3);
    constexpr int kChunks = 600'000;
    std::vector<uint8_t> seen(kChunks, 0);
    pool.run(kChunks, [&](int chunk, int) { ++seen[static_cast<size_t>(chunk)]; });
    EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), kChunks);
}

TEST(ThreadPool, ManyPoolsStartAndStop) {
    for (int i = 0; i < 200; ++i) {
        ThreadPool pool(3);
        std::atomic<int> n{0};
        if (i % 2) pool.run(4, [&](int, int) { ++n; });
        EXPECT_EQ(n.load(), i % 2 ? 4 : 0);
    }
}

}  // namespace
}  // namespace gs
