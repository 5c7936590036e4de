#include <cmath>

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/route.cuh"
#include "engine/ops/cuda/route_choice.cuh"
#include "engine/ops/cuda/route_scores.cuh"

namespace gs::cuda {
namespace {

/// In slot order, as on the host.
__device__ float sum_of_weights(const RoutedToken& t) {
    float sum = 0;
    for (int j = 0; j < t.n_chosen; ++j) sum += t.weights[j];
    return sum;
}

__device__ void divide(RoutedToken& t, float denominator) {
    __syncwarp();   // every lane has its sum
    if (denominator > 0) t.each(t.n_chosen, [&](int j) { t.weights[j] /= denominator; });
}

/// Section 7.9 of the families: what each chosen expert gets of a softmax over itself and those close behind it, the ones chosen before left out.
__device__ void sparse_mixer_weights(RoutedToken& t, const RouteRule& rule) {
    constexpr float kTwiceJitter = 0.02f;
    for (int j = 0; j < t.n_chosen; ++j) {
        const float top = t.scaled[t.chosen[j]];
        const float sum = t.sum(t.router.n_experts, [&](int e) {
            bool left_out = rule.is(kMasked, e);
            for (int o = 0; o < j; ++o) left_out = left_out || t.chosen[o] == e;
            const bool far = (top - t.scaled[e]) / fmaxf(fabsf(t.scaled[e]), top) > kTwiceJitter;
            return left_out || far ? 0.0f : expf(t.scaled[e] - top);
        });
        if (t.lane == 0) t.weights[j] = 1 / sum;
    }
    __syncwarp();
}

/// What the chosen experts' weights are before they are renormalised.
__device__ void weigh_chosen(RoutedToken& t, const RouteRule& rule) {
    const DeviceRouter& r = t.router;
    const bool of_logits = r.score == ScoreFn::kSoftmaxAfterTopK && !rule.soft();
    t.each(t.n_chosen, [&](int j) { t.weights[j] = of_logits ? t.scaled[t.chosen[j]] : t.preference[t.chosen[j]]; });
    if (rule.soft()) divide(t, sum_of_weights(t));
    else if (of_logits) softmax(t, t.weights, t.n_chosen);
    else if (r.score == ScoreFn::kSparseMixer) sparse_mixer_weights(t, rule);
}

__device__ void drop_light(RoutedToken& t, const RouteRule& rule) {
    float heaviest = 0;
    for (int j = 0; j < t.n_chosen; ++j) heaviest = fmaxf(heaviest, t.weights[j]);
    const float least = rule.tau * heaviest;
    keep_chosen(t, [&](int j, int e) { return t.weights[j] >= least || rule.is(kForced, e); });
}

__device__ void weigh(RoutedToken& t, const RouteRule& rule) {
    const DeviceRouter& r = t.router;
    weigh_chosen(t, rule);
    if (rule.gate == GateRule::kThreshold) {
        drop_light(t, rule);
        weigh_chosen(t, rule);
    }
    if (r.renormalise && !rule.soft()) divide(t, fmaxf(sum_of_weights(t) + r.norm_epsilon, r.norm_floor));
    if (r.scale != 0 && r.scale != 1) t.each(t.n_chosen, [&](int j) { t.weights[j] *= r.scale; });
}

__device__ void route_once(RoutedToken& t, const RouteRule& rule) {
    score(t, rule);
    selection_scores(t, rule);
    if (t.router.n_groups > 1 && !rule.soft()) limit_groups(t, rule);
    select(t, rule);
    if (rule.gate == GateRule::kTopP) keep_top_p(t, rule);
    weigh(t, rule);
}

/// ablate() of engine/routing/ablate.h. Few swaps over few slots: one lane.
__device__ void ablate(RoutedToken& t) {
    const DeviceRouter& r = t.router;
    __syncwarp();
    for (int s = 0; t.lane == 0 && s < r.n_swaps; ++s) {
        const ExpertSwap swap = r.swaps[s];
        int from = -1, to = -1;
        for (int j = 0; j < t.n_chosen; ++j) {
            if (t.chosen[j] == swap.from) from = j;
            if (t.chosen[j] == swap.to) to = j;
        }
        if (from < 0 || (r.flags && (r.flags[swap.to] & kMasked) != 0)) continue;
        if (to >= 0) t.chosen[to] = swap.from;
        t.chosen[from] = swap.to;
    }
    __syncwarp();
    if (r.has_zeroed)
        t.each(t.n_chosen, [&](int j) {
            if ((r.flags[t.chosen[j]] & kZeroed) != 0) t.weights[j] = 0;
        });
}

__global__ void __launch_bounds__(kWarp) route_kernel(const DeviceRouter* routers, int layer, Rows logits, int32_t* ids, float* weights, int32_t* n_used,
                                                      int k_stride, int32_t* nonfinite, Position first) {
    const DeviceRouter& r = routers[layer];
    const int token = static_cast<int>(blockIdx.x), n = logits.n_cols;
    float* shared = dynamic_shared<float>();
    auto* integers = reinterpret_cast<int*>(shared + 5 * n);
    RoutedToken t{r, row_of(logits, token), shared, shared + n, shared + 2 * n, shared + 3 * n, shared + 4 * n, integers, integers + n,
            static_cast<int>(threadIdx.x), first.get() + token};
    bool bad = false;
    for (int e = t.lane; e < n; e += kWarp) bad = bad || !std::isfinite(t.logits[e]);
    if (bad) *nonfinite = 1;   // whoever writes, writes the same
    float wanted_sum = 1;
    if (r.weight_rule == WeightRule::kMatchNativeSum) {
        route_once(t, {.k = r.native_k, .first_k = r.native_k});
        wanted_sum = sum_of_weights(t);
        __syncwarp();
    }
    route_once(t, {.gate = r.rule, .k = r.k, .first_k = r.first_k, .temperature = r.temperature, .p = r.p, .tau = r.tau, .noise = r.noise,
                   .has_forced = r.has_forced, .bias = r.policy_bias, .flags = r.flags});
    if (r.weight_rule != WeightRule::kAsTrained) {
        divide(t, sum_of_weights(t));
        t.each(t.n_chosen, [&](int j) { t.weights[j] *= wanted_sum; });
    }
    if (r.n_swaps > 0 || r.has_zeroed) ablate(t);
    const auto first_slot = static_cast<ptrdiff_t>(token) * k_stride;
    t.each(t.n_chosen < k_stride ? t.n_chosen : k_stride, [&](int j) {
        ids[first_slot + j] = t.chosen[j];
        weights[first_slot + j] = t.weights[j];
    });
    if (t.lane == 0) n_used[token] = t.n_chosen;
}

}  // namespace

void route(cudaStream_t stream, const DeviceRouter* routers, const RouteCall& call, Position first) {
    if (call.logits.n_rows <= 0) return;
    const size_t shared_bytes = 7 * sizeof(float) * static_cast<size_t>(call.logits.n_cols);
    launch(route_kernel, dim3(static_cast<unsigned>(call.logits.n_rows)), dim3(kWarp), shared_bytes, stream, routers, call.layer, call.logits, call.ids,
           call.weights, call.n_used, call.k_stride, call.nonfinite, first);
}

}  // namespace gs::cuda
