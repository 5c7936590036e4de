#include "tests/cuda_emulation/fibers.h"

#include <boost/context/detail/fcontext.hpp>
#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// What kernels read; set at every switch.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

namespace ctx = boost::context::detail;

enum class State : uint8_t { kReady, kAtBarrier, kAtWarp, kDone };

struct Fiber {
    ctx::fcontext_t context = nullptr;
    void* stack = nullptr;
    size_t stack_bytes = 0;
    void* fake_stack = nullptr;   // AddressSanitizer's
    uint3 index{};
    unsigned number = 0;          // within the block
    State state = State::kReady;
    Site at;
    // The warp operation it waits in, and what came out.
    WarpOp op = WarpOp::kSync;
    unsigned mask = 0, source_lane = 0;
    uint64_t value = 0, result = 0;
};

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;
void before_switch(Fiber& from, const Fiber& to) { __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes); }
void after_switch(Fiber& self, Fiber* from) {
    const void* bottom = nullptr;
    size_t size = 0;
    __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &size);
    if (from && !from->stack) {   // the host's own stack, seen for the first time
        from->stack = const_cast<void*>(bottom);
        from->stack_bytes = size;
    }
}
#else
constexpr size_t kStackBytes = 64 << 10;
void before_switch(Fiber&, const Fiber&) {}
void after_switch(Fiber&, Fiber*) {}
#endif

class Random {
public:
    explicit Random(uint64_t seed) : m_state(seed * 0x9e3779b97f4a7c15ull + 0x1234567) {}
    uint32_t below(uint32_t n) {
        m_state ^= m_state << 13;
        m_state ^= m_state >> 7;
        m_state ^= m_state << 17;
        return static_cast<uint32_t>(((m_state >> 32) * n) >> 32);
    }

private:
    uint64_t m_state;
};

/// Who runs next among those that can.
enum class Order : uint8_t { kRandom, kAscending, kDescending };

struct Cost {
    uint64_t launches = 0, blocks = 0, threads = 0, switches = 0;
};
/// Printed when the program ends.
struct Profile {
    bool on = std::getenv("GATESCOPE_EMULATION_PROFILE") != nullptr;
    std::map<std::string, Cost> by_place;
    ~Profile() {
        for (const auto& [place, c] : by_place)
            std::fprintf(stderr, "%10llu switches %10llu threads %8llu blocks %7llu launches  %s\n", static_cast<unsigned long long>(c.switches),
                         static_cast<unsigned long long>(c.threads), static_cast<unsigned long long>(c.blocks), static_cast<unsigned long long>(c.launches),
                         place.c_str());
    }
};

struct Engine {
    Profile profile;
    std::mutex mutex;                          // one grid at a time
    std::vector<std::unique_ptr<Fiber>> fibers;
    Fiber host;
    Fiber* current = &host;
    std::vector<Fiber*> ready;
    const Launch* launch = nullptr;
    unsigned n_threads = 0, n_done = 0, n_at_barrier = 0;
    int n_true = 0, barrier_result = 0;
    Order order = Order::kRandom;
    Random random{0};
    std::vector<uint64_t> shared;              // as 8-byte words; used from its first multiple of 128 bytes
    Counters counters;
};
Engine& engine() {
    static Engine e;
    return e;
}

void switch_away();

void fiber_main(ctx::transfer_t from) {
    Engine& e = engine();
    auto* came_from = static_cast<Fiber*>(from.data);
    came_from->context = from.fctx;
    after_switch(*e.current, came_from);
    for (;;) {
        e.launch->body(e.launch->argument);
        e.current->state = State::kDone;
        ++e.n_done;
        switch_away();
    }
}

void make_fiber(Fiber& fiber) {
    // A page that may not be touched below the stack: running over shows at once.
    constexpr size_t kPage = 4096;
    void* memory = mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) {
        std::fputs("cuda emulation: no memory for stacks\n", stderr);
        std::abort();
    }
    fiber.stack = static_cast<char*>(memory) + kPage;
    fiber.stack_bytes = kStackBytes;
    fiber.context = ctx::make_fcontext(static_cast<char*>(fiber.stack) + kStackBytes, kStackBytes, fiber_main);
}

/// Takes one that can run; the host when there is none.
Fiber* next_fiber(Engine& e) {
    if (e.ready.empty()) return &e.host;
    if (e.order == Order::kRandom) std::swap(e.ready[e.random.below(static_cast<uint32_t>(e.ready.size()))], e.ready.back());
    Fiber* fiber = e.ready.back();
    e.ready.pop_back();
    return fiber;
}

/// Gives the processor to another; returns when this one's turn has come again.
void switch_away() {
    Engine& e = engine();
    Fiber& self = *e.current;
    Fiber* next = next_fiber(e);
    if (next == &self) return;
    ++e.counters.fiber_switches;
    e.current = next;
    threadIdx = next->index;
    before_switch(self, *next);
    const ctx::transfer_t from = ctx::jump_fcontext(next->context, &self);
    auto* came_from = static_cast<Fiber*>(from.data);
    came_from->context = from.fctx;
    after_switch(self, came_from);
}

/// Fibers [begin, end) that `may` names can run again. The last pushed runs first where the order is not random.
template <class May>
void make_ready(Engine& e, unsigned begin, unsigned end, const May& may) {
    const auto push = [&](unsigned i) {
        Fiber& fiber = *e.fibers[i];
        if (!may(fiber)) return;
        fiber.state = State::kReady;
        e.ready.push_back(&fiber);
    };
    if (e.order == Order::kAscending)
        for (unsigned i = end; i-- > begin;) push(i);
    else
        for (unsigned i = begin; i < end; ++i) push(i);
}

std::string place(const Site& at) {
    return std::string(at.file_name()) + ":" + std::to_string(at.line()) + " (" + at.function_name() + ")";
}
std::string text(const uint3& i) { return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")"; }

[[noreturn]] void die(const std::string& what) {
    Engine& e = engine();
    std::fprintf(stderr, "cuda emulation: %s; block %s", what.c_str(), text(blockIdx).c_str());
    if (e.launch) std::fprintf(stderr, " of the kernel launched at %s", place(e.launch->from).c_str());
    std::fputs("\n", stderr);
    std::abort();
}

std::string describe(const Fiber& f) {
    const std::string who = "thread " + text(f.index);
    switch (f.state) {
        case State::kDone: return who + " has left the kernel";
        case State::kAtBarrier: return who + " waits at the barrier " + place(f.at);
        case State::kAtWarp: return who + " waits for its warp at " + place(f.at);
        case State::kReady: return who + " runs";
    }
    return who;
}

/// Nobody can run and not all are done: names the first that waits and one that does otherwise.
[[noreturn]] void diverged(Engine& e) {
    const Fiber* waiting = nullptr;
    for (unsigned i = 0; i < e.n_threads && !waiting; ++i)
        if (e.fibers[i]->state != State::kDone) waiting = e.fibers[i].get();
    const Fiber* other = nullptr;
    for (unsigned i = 0; i < e.n_threads && !other; ++i) {
        const Fiber& f = *e.fibers[i];
        if (f.state != waiting->state || f.at.line() != waiting->at.line()) other = &f;
    }
    die("divergent barrier: " + describe(*waiting) + (other ? ", " + describe(*other) : std::string()));
}

bool same_place(const Site& a, const Site& b) {
    return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

void start_block(Engine& e, const Launch& launch) {
    std::memset(dynamic_shared_memory(), 0xff, launch.shared_bytes);
    e.n_done = e.n_at_barrier = 0;
    e.n_true = 0;
    e.ready.clear();
    const uint32_t drawn = e.random.below(4);
    e.order = drawn < 2 ? Order::kRandom : drawn == 2 ? Order::kAscending : Order::kDescending;
    make_ready(e, 0, e.n_threads, [](const Fiber&) { return true; });
    ++e.counters.blocks;
}

void prepare_fibers(Engine& e, const Launch& launch) {
    e.n_threads = launch.block.x * launch.block.y * launch.block.z;
    while (e.fibers.size() < e.n_threads) {
        e.fibers.push_back(std::make_unique<Fiber>());
        make_fiber(*e.fibers.back());
    }
    for (unsigned i = 0; i < e.n_threads; ++i) {
        Fiber& f = *e.fibers[i];
        f.number = i;
        f.index.x = i % launch.block.x;
        f.index.y = i / launch.block.x % launch.block.y;
        f.index.z = i / (launch.block.x * launch.block.y);
    }
}

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

void* dynamic_shared_memory() {
    const auto address = reinterpret_cast<uintptr_t>(engine().shared.data());
    return reinterpret_cast<void*>((address + 127) / 128 * 128);
}

unsigned lane_id() { return engine().current->number % 32; }

void fail(const char* what, const Site& at) { die(std::string(what) + " at " + place(at) + ", " + describe(*engine().current)); }

void run_grid(const Launch& launch) {
    Engine& e = engine();
    const std::lock_guard lock(e.mutex);
    e.launch = &launch;
    e.host.stack = nullptr;   // may be another thread's than the last time
    prepare_fibers(e, launch);
    e.shared.resize((launch.shared_bytes + 128) / 8 + 1);
    blockDim = {launch.block.x, launch.block.y, launch.block.z};
    gridDim = {launch.grid.x, launch.grid.y, launch.grid.z};
    ++e.counters.launches;
    const uint64_t n_blocks = static_cast<uint64_t>(launch.grid.x) * launch.grid.y * launch.grid.z;
    const uint64_t switches_before = e.counters.fiber_switches;
    const uint64_t first = e.random.below(static_cast<uint32_t>(n_blocks));
    const bool backwards = e.random.below(2) == 1;
    for (uint64_t i = 0; i < n_blocks; ++i) {
        const uint64_t b = (first + (backwards ? n_blocks - i : i)) % n_blocks;
        blockIdx.x = static_cast<unsigned>(b % launch.grid.x);
        blockIdx.y = static_cast<unsigned>(b / launch.grid.x % launch.grid.y);
        blockIdx.z = static_cast<unsigned>(b / launch.grid.x / launch.grid.y);
        start_block(e, launch);
        switch_away();   // returns when nobody can run
        if (e.n_done != e.n_threads) diverged(e);
    }
    if (e.profile.on) {
        Cost& cost = e.profile.by_place[std::string(launch.from.file_name()) + ":" + std::to_string(launch.from.line())];
        ++cost.launches;
        cost.blocks += n_blocks;
        cost.threads += n_blocks * e.n_threads;
        cost.switches += e.counters.fiber_switches - switches_before;
    }
    e.launch = nullptr;
}

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

void set_seed(uint64_t seed) { engine().random = Random(seed); }
Counters fiber_counters() { return engine().counters; }

}  // namespace cuda_emulation
