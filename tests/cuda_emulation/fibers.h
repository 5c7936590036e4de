// The threads of a block as fibers, one block after another. What runs next is drawn from a seed at every barrier, shuffle and vote, so that
// code that only works in one order of threads fails for some seed.
//
// Stricter than hardware on purpose, because what follows may hang or give garbage there: a barrier that some threads of the block skip or leave
// the kernel before, a warp operation whose lanes name different masks or stand at different places, a shuffle from a lane outside the mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

namespace cuda_emulation {

using Site = std::source_location;

/// Three unsigned, as uint3 and dim3 have them.
struct Index {
    unsigned x = 0, y = 0, z = 0;
};

/// One launch: body(argument) is a thread.
struct Launch {
    void (*body)(void*) = nullptr;
    void* argument = nullptr;
    Index grid, block;
    size_t shared_bytes = 0;
    Site from;
};
void run_grid(const Launch& launch);

/// Scratch of the block that runs; filled with 0xff when a block begins.
void* dynamic_shared_memory();

/// What threads add up at a block barrier: how many arrived with a predicate that is not 0.
int block_barrier(bool predicate, const Site& at);

enum class WarpOp : uint8_t { kSync, kShuffle, kBallot, kMatchAny, kAddU, kMinU, kMaxU, kMinS, kMaxS, kAnd, kOr, kXor };
/// All lanes of the mask meet; the result for this lane. For kShuffle, source_lane is the lane whose value it takes.
uint64_t warp_meet(WarpOp op, unsigned mask, uint64_t value, unsigned source_lane, const Site& at);
unsigned lane_id();

/// Prints "cuda emulation: …" with the block and thread that runs, and aborts.
[[noreturn]] void fail(const char* what, const Site& at);

}  // namespace cuda_emulation
