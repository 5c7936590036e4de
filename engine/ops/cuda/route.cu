#include <cfloat>
#include <cmath>

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/route.cuh"
#include "engine/ops/cuda/rows.cuh"
#include "engine/routing/gate_noise.h"

namespace gs::cuda {
namespace {

constexpr float kSmallest = -0x1.fffffcp127f;   // what -inf becomes: one step above what NaN becomes

/// What is in force: the policy's, or for the sum of native weights the model's own.
struct Rule {
    GateRule gate = GateRule::kNative;
    int k = 0, first_k = 0;
    float temperature = 1, p = 1, tau = 0, noise = 0;
    bool has_forced = false;
    const float* bias = nullptr;
    const uint8_t* flags = nullptr;
    __device__ bool soft() const { return gate == GateRule::kSoft; }
    __device__ bool is(uint8_t flag, int e) const { return flags && (flags[e] & flag) != 0; }
};

/// One token in the hands of a warp. The arrays are shared memory, E values each.
struct Token {
    const DeviceRouter& router;
    const float* logits;
    float *scaled, *preference, *selection, *left, *weights;
    int *chosen, *order;
    int lane, position;
    int n_chosen = 0;

    template <class F>
    __device__ void each(int n, F f) {
        for (int i = lane; i < n; i += kWarp) f(i);
        __syncwarp();
    }
    template <class F>
    __device__ float sum(int n, F f) {
        float part = 0;
        for (int i = lane; i < n; i += kWarp) part += f(i);
        return warp_sum(part);
    }
};

__device__ float scaled_logit(float logit, float temperature) {
    if (std::isnan(logit)) return -FLT_MAX;
    return fminf(fmaxf(temperature == 1.0f ? logit : logit / temperature, kSmallest), FLT_MAX);
}

/// In place; n values in shared memory.
__device__ void softmax(Token& t, float* values, int n) {
    float top = -FLT_MAX;
    for (int i = t.lane; i < n; i += kWarp) top = fmaxf(top, values[i]);
    top = warp_max(top);
    t.each(n, [&](int i) { values[i] = expf(values[i] - top); });
    const float inverse = 1.0f / t.sum(n, [&](int i) { return values[i]; });
    t.each(n, [&](int i) { values[i] *= inverse; });
}

__device__ void score(Token& t, const Rule& rule) {
    const DeviceRouter& r = t.router;
    t.each(r.n_experts, [&](int e) {
        const float logit = rule.noise > 0 ? noisy_logit(t.logits[e], rule.noise, r.seed, t.position, r.layer, e) : t.logits[e];
        t.preference[e] = t.scaled[e] = scaled_logit(logit, rule.temperature);
    });
    if (r.score == ScoreFn::kSigmoid) {
        t.each(r.n_experts, [&](int e) {
            const float x = t.scaled[e], y = expf(-fabsf(x));   // never overflows
            t.preference[e] = (x < 0 ? y : 1.0f) / (1.0f + y);
        });
    } else if (r.score == ScoreFn::kSqrtSoftplus) {
        t.each(r.n_experts, [&](int e) { t.preference[e] = sqrtf(fmaxf(t.scaled[e], 0.0f) + log1pf(expf(-fabsf(t.scaled[e])))); });
    } else {
        softmax(t, t.preference, r.n_experts);
    }
}

__device__ void selection_scores(Token& t, const Rule& rule) {
    const DeviceRouter& r = t.router;
    const bool by_logits = r.select_by_logits || r.score == ScoreFn::kSoftmaxAfterTopK || r.score == ScoreFn::kSparseMixer;
    t.each(r.n_experts, [&](int e) {
        float s = by_logits ? t.scaled[e] : t.preference[e];
        if (r.bias && !r.select_by_logits) {
            s += r.bias[e];
            if (!(s >= -FLT_MAX)) s = -FLT_MAX;   // a NaN or -inf in the model's bias: last, but not masked
        }
        if (rule.bias) {
            s += rule.bias[e];
            if (!(s >= -FLT_MAX)) s = -FLT_MAX;
        }
        if (std::isnan(t.logits[e])) s = -FLT_MAX;
        t.selection[e] = rule.is(kMasked, e) ? -INFINITY : s;
    });
}

__device__ float group_score(GroupScore kind, const float* scores, int n) {
    float best = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; ++i) {
        const float s = scores[i];
        second = s > best ? best : fmaxf(second, s);
        best = fmaxf(best, s);
    }
    return kind == GroupScore::kTop2Sum && second > -INFINITY ? fmaxf(best + second, -FLT_MAX) : best;
}

/// -inf outside the best groups; `left` holds the groups' scores meanwhile.
__device__ void limit_groups(Token& t, const Rule& rule) {
    const DeviceRouter& r = t.router;
    const int size = r.n_experts / r.n_groups;
    t.each(r.n_groups, [&](int g) { t.left[g] = group_score(r.group_score, t.selection + g * size, size); });
    t.each(r.n_groups, [&](int g) {
        int better = 0;
        for (int o = 0; o < r.n_groups; ++o) better += t.left[o] > t.left[g] || (t.left[o] == t.left[g] && o < g);
        if (better < r.n_groups_used) return;
        for (int e = g * size; e < (g + 1) * size; ++e)
            if (!rule.is(kForced, e)) t.selection[e] = -INFINITY;
    });
}

/// Takes the best of `left` until k are chosen or only -inf is left.
__device__ void take_best(Token& t, int k) {
    const int n = t.router.n_experts;
    while (t.n_chosen < k) {
        float best = -INFINITY;
        int place = n;
        for (int e = t.lane; e < n; e += kWarp)
            if (t.left[e] > best) best = t.left[e], place = e;
        for (int step = kWarp / 2; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(kAllLanes, best, step);
            const int other_place = __shfl_xor_sync(kAllLanes, place, step);
            if (other > best || (other == best && other_place < place)) best = other, place = other_place;
        }
        if (best == -INFINITY) return;
        if (t.lane == 0) {
            t.chosen[t.n_chosen] = place;
            t.left[place] = -INFINITY;
        }
        ++t.n_chosen;
        __syncwarp();
    }
}

__device__ void select(Token& t, const Rule& rule) {
    const int n = t.router.n_experts;
    t.n_chosen = 0;
    if (!rule.has_forced) {
        t.each(n, [&](int e) { t.left[e] = t.selection[e]; });
        return take_best(t, rule.first_k);
    }
    for (const bool forced : {true, false}) {
        t.each(n, [&](int e) { t.left[e] = rule.is(kForced, e) == forced ? t.selection[e] : -INFINITY; });
        take_best(t, rule.first_k);
    }
    t.each(t.n_chosen, [&](int j) {
        const int mine = t.chosen[j];
        int rank = 0;
        for (int o = 0; o < t.n_chosen; ++o) {
            const float other = t.selection[t.chosen[o]];
            rank += other > t.selection[mine] || (other == t.selection[mine] && t.chosen[o] < mine);
        }
        t.order[rank] = mine;
    });
    t.each(t.n_chosen, [&](int j) { t.chosen[j] = t.order[j]; });
}

/// In slot order, as on the host.
__device__ float sum_of_weights(const Token& t) {
    float sum = 0;
    for (int j = 0; j < t.n_chosen; ++j) sum += t.weights[j];
    return sum;
}

__device__ void divide(Token& t, float denominator) {
    __syncwarp();   // every lane has its sum
    if (denominator > 0) t.each(t.n_chosen, [&](int j) { t.weights[j] /= denominator; });
}

/// Section 7.9 of the families: what each chosen expert gets of a softmax over itself and those close behind it, the ones chosen before left out.
__device__ void sparse_mixer_weights(Token& t, const Rule& rule) {
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

/// Of the chosen those that `keeps` says, asked once each, best first, by every lane alike.
template <class F>
__device__ void keep_chosen(Token& t, F keeps) {
    int n_kept = 0;
    for (int j = 0; j < t.n_chosen; ++j) {
        const int id = t.chosen[j];
        const bool kept = keeps(j, id);
        __syncwarp();   // every lane has seen the slot that is written next
        if (kept && t.lane == 0) t.chosen[n_kept] = id;
        n_kept += kept ? 1 : 0;
        __syncwarp();
    }
    t.n_chosen = n_kept;
}

/// All candidates are chosen, best first. Sums in the host's order, so that both stop at the same expert but for the rounding of exponentials.
__device__ void keep_top_p(Token& t, const Rule& rule) {
    float all = 0, taken = 0;
    int n_free = rule.k;
    for (int e = 0; e < t.router.n_experts; ++e) {
        if (t.selection[e] == -INFINITY) continue;
        all += t.preference[e];
        if (!rule.is(kForced, e)) continue;
        taken += t.preference[e];
        --n_free;
    }
    bool is_first = n_free == rule.k;
    keep_chosen(t, [&](int, int e) {
        if (rule.is(kForced, e)) return true;
        const bool enough = rule.p < 1 && taken >= rule.p * all;
        if (n_free <= 0 || (enough && !is_first)) return false;
        is_first = false;
        taken += t.preference[e];
        --n_free;
        return true;
    });
}

/// What the chosen experts' weights are before they are renormalised.
__device__ void weigh_chosen(Token& t, const Rule& rule) {
    const DeviceRouter& r = t.router;
    const bool of_logits = r.score == ScoreFn::kSoftmaxAfterTopK && !rule.soft();
    t.each(t.n_chosen, [&](int j) { t.weights[j] = of_logits ? t.scaled[t.chosen[j]] : t.preference[t.chosen[j]]; });
    if (rule.soft()) divide(t, sum_of_weights(t));
    else if (of_logits) softmax(t, t.weights, t.n_chosen);
    else if (r.score == ScoreFn::kSparseMixer) sparse_mixer_weights(t, rule);
}

__device__ void drop_light(Token& t, const Rule& rule) {
    float heaviest = 0;
    for (int j = 0; j < t.n_chosen; ++j) heaviest = fmaxf(heaviest, t.weights[j]);
    const float least = rule.tau * heaviest;
    keep_chosen(t, [&](int j, int e) { return t.weights[j] >= least || rule.is(kForced, e); });
}

__device__ void weigh(Token& t, const Rule& rule) {
    const DeviceRouter& r = t.router;
    weigh_chosen(t, rule);
    if (rule.gate == GateRule::kThreshold) {
        drop_light(t, rule);
        weigh_chosen(t, rule);
    }
    if (r.renormalise && !rule.soft()) divide(t, fmaxf(sum_of_weights(t) + r.norm_epsilon, r.norm_floor));
    if (r.scale != 0 && r.scale != 1) t.each(t.n_chosen, [&](int j) { t.weights[j] *= r.scale; });
}

__device__ void route_once(Token& t, const Rule& rule) {
    score(t, rule);
    selection_scores(t, rule);
    if (t.router.n_groups > 1 && !rule.soft()) limit_groups(t, rule);
    select(t, rule);
    if (rule.gate == GateRule::kTopP) keep_top_p(t, rule);
    weigh(t, rule);
}

/// ablate() of engine/routing/ablate.h. Few swaps over few slots: one lane.
__device__ void ablate(Token& t) {
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
    Token t{r, row_of(logits, token), shared, shared + n, shared + 2 * n, shared + 3 * n, shared + 4 * n, integers, integers + n,
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
