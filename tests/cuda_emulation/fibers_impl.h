// What the threads of a block are made of. Private to fibers*.cpp.
#pragma once

#include <boost/context/detail/fcontext.hpp>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/fibers.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"

namespace cuda_emulation {

enum class State : uint8_t { kReady, kAtBarrier, kAtWarp, kDone };

struct Fiber {
    boost::context::detail::fcontext_t context = nullptr;
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
/// What each place of launch cost; printed when the program ends.
struct Profile {
    bool on = std::getenv("GATESCOPE_EMULATION_PROFILE") != nullptr;
    std::map<std::string, Cost> by_place;
    ~Profile();
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
inline Engine& engine() {
    static Engine e;
    return e;
}

/// Gives the processor to another; returns when this one's turn has come again.
void switch_away();

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

inline bool same_place(const Site& a, const Site& b) {
    return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

// fibers_errors.cpp
/// "file:line (function)"
std::string place(const Site& at);
/// "thread (0,1,0) waits at the barrier …"
std::string describe(const Fiber& f);
/// Says so with the block and the launch, and ends the program.
[[noreturn]] void die(const std::string& what);
/// Nobody can run and not all are done: names the first that waits and one that does otherwise.
[[noreturn]] void diverged(Engine& e);

}  // namespace cuda_emulation
