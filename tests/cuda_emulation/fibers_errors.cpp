// What is said when a kernel breaks a rule: who waits where.
#include <cstdio>
#include <cstdlib>

#include "tests/cuda_emulation/fibers_impl.h"

namespace cuda_emulation {

static std::string text(const uint3& i) { return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")"; }

std::string place(const Site& at) {
    return std::string(at.file_name()) + ":" + std::to_string(at.line()) + " (" + at.function_name() + ")";
}

void die(const std::string& what) {
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

void diverged(Engine& e) {
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

void fail(const char* what, const Site& at) { die(std::string(what) + " at " + place(at) + ", " + describe(*engine().current)); }

}  // namespace cuda_emulation
