#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "tests/cuda_emulation/fibers_impl.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

// What kernels read; set at every switch.
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

namespace ctx = boost::context::detail;

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

}  // namespace

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

void* dynamic_shared_memory() {
    const auto address = reinterpret_cast<uintptr_t>(engine().shared.data());
    return reinterpret_cast<void*>((address + 127) / 128 * 128);
}

unsigned lane_id() { return engine().current->number % 32; }

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

Profile::~Profile() {
    for (const auto& [place, c] : by_place)
        std::fprintf(stderr, "%10llu switches %10llu threads %8llu blocks %7llu launches  %s\n", static_cast<unsigned long long>(c.switches),
                     static_cast<unsigned long long>(c.threads), static_cast<unsigned long long>(c.blocks), static_cast<unsigned long long>(c.launches), place.c_str());
}

void set_seed(uint64_t seed) { engine().random = Random(seed); }
Counters fiber_counters() { return engine().counters; }

}  // namespace cuda_emulation
