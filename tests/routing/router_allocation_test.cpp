// route() runs once per token and layer: with a used row it must not touch the heap. Counts every operator new of this program.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/routing/router.h"

namespace {
std::atomic<long> n_allocations{0};
}

// Not inlined: the compiler would see free() of what it takes for another operator's memory.
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++n_allocations;
    if (void* p = std::malloc(size ? size : 1)) return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++n_allocations;
    return std::malloc(size ? size : 1);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace gs {
namespace {

TEST(Router, DoesNotAllocateOnceTheRowHasBeenUsed) {
    const RouterSpec spec{
        .n_experts = 128, .n_used = 8, .score = ScoreFn::kSigmoid, .renormalise = true, .n_groups = 8, .n_groups_used = 4};
    std::vector<float> logits(128), bias(128, 0.1f);
    for (size_t e = 0; e < logits.size(); ++e) logits[e] = static_cast<float>(e * 37 % 128) / 32.0f;
    LayerPolicy soft, forced;
    soft.rule = GateRule::kSoft;
    forced.rule = GateRule::kTopK;
    forced.k = 40;
    forced.weight_rule = WeightRule::kMatchNativeSum;
    forced.forced.assign(128, 0);
    forced.forced[3] = 1;
    const LayerPolicy native;
    RouteRow row;
    route(spec, native, logits, bias, row);
    const long before = n_allocations;
    for (const LayerPolicy* policy : std::initializer_list<const LayerPolicy*>{&native, &soft, &forced}) {
        route(spec, *policy, logits, bias, row);
    }
    EXPECT_EQ(n_allocations - before, 0);
}

}  // namespace
}  // namespace gs
