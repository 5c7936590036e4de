// Where threads meet: block barriers, and the operations of a warp.
#include <algorithm>

#include "tests/cuda_emulation/fibers_impl.h"

namespace cuda_emulation {
namespace {

/// The reductions of a warp, over the lanes of the mask.
uint64_t reduced(WarpOp op, uint64_t a, uint64_t b) {
    const auto ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
    const auto sa = static_cast<int32_t>(ua), sb = static_cast<int32_t>(ub);
    switch (op) {
        case WarpOp::kAddU: return ua + ub;
        case WarpOp::kMinU: return ua < ub ? ua : ub;
        case WarpOp::kMaxU: return ua > ub ? ua : ub;
        case WarpOp::kMinS: return static_cast<uint32_t>(sa < sb ? sa : sb);
        case WarpOp::kMaxS: return static_cast<uint32_t>(sa > sb ? sa : sb);
        case WarpOp::kAnd: return ua & ub;
        case WarpOp::kOr: return ua | ub;
        case WarpOp::kXor: return ua ^ ub;
        default: return 0;
    }
}

/// All lanes have arrived: what each gets.
void finish_warp(Engine& e, unsigned first, WarpOp op, unsigned mask) {
    const auto lane = [&](unsigned i) -> Fiber& { return *e.fibers[first + i]; };
    uint64_t common = 0;
    bool begun = false;
    for (unsigned i = 0; i < 32; ++i) {
        if (!(mask >> i & 1)) continue;
        Fiber& f = lane(i);
        if (op == WarpOp::kShuffle) {
            if (!(mask >> f.source_lane & 1)) die("shuffle from a lane outside the mask: " + describe(f));
            f.result = lane(f.source_lane).value;
        } else if (op == WarpOp::kBallot) {
            common |= (f.value != 0 ? 1ull : 0ull) << i;
        } else if (op == WarpOp::kMatchAny) {
            f.result = 0;
            for (unsigned j = 0; j < 32; ++j)
                if (mask >> j & 1 && lane(j).value == f.value) f.result |= 1ull << j;
        } else if (op != WarpOp::kSync) {
            common = begun ? reduced(op, common, f.value) : f.value;
            begun = true;
        }
    }
    if (op == WarpOp::kShuffle || op == WarpOp::kMatchAny) return;
    for (unsigned i = 0; i < 32; ++i)
        if (mask >> i & 1) lane(i).result = common;
}

}  // namespace

int block_barrier(bool predicate, const Site& at) {
    Engine& e = engine();
    Fiber& self = *e.current;
    self.state = State::kAtBarrier;
    self.at = at;
    e.n_true += predicate;
    if (++e.n_at_barrier == e.n_threads) {
        for (unsigned i = 0; i < e.n_threads; ++i)
            if (!same_place(e.fibers[i]->at, at)) die("divergent barrier: " + describe(self) + ", " + describe(*e.fibers[i]));
        e.barrier_result = e.n_true;
        e.n_at_barrier = 0;
        e.n_true = 0;
        make_ready(e, 0, e.n_threads, [](const Fiber&) { return true; });
    }
    switch_away();
    return e.barrier_result;
}

uint64_t warp_meet(WarpOp op, unsigned mask, uint64_t value, unsigned source_lane, const Site& at) {
    Engine& e = engine();
    Fiber& self = *e.current;
    const unsigned lane = self.number % 32, first = self.number - lane;
    self.state = State::kAtWarp;
    self.at = at;
    self.op = op;
    self.mask = mask;
    self.value = value;
    self.source_lane = source_lane;
    if (!(mask >> lane & 1)) die("a mask without the calling lane: " + describe(self));
    bool all = true;
    for (unsigned i = 0; i < 32; ++i) {
        if (!(mask >> i & 1)) continue;
        if (first + i >= e.n_threads) die("a mask with lanes that the block does not have: " + describe(self));
        const Fiber& f = *e.fibers[first + i];
        if (f.state != State::kAtWarp) {
            all = false;
        } else if (f.mask != mask || f.op != op || !same_place(f.at, at)) {
            die("divergent warp: " + describe(self) + ", " + describe(f));
        }
    }
    if (all) {
        finish_warp(e, first, op, mask);
        make_ready(e, first, std::min(first + 32, e.n_threads), [&](const Fiber& f) { return (mask >> (f.number - first) & 1) != 0; });
    }
    switch_away();
    return self.result;
}

}  // namespace cuda_emulation
