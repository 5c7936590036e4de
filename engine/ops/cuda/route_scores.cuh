// The first half of the router on the device: what every expert scores for a token, and which groups of experts are left.
#pragma once

#include <cfloat>
#include <cmath>

#include "engine/ops/cuda/route.cuh"
#include "engine/ops/cuda/rows.cuh"
#include "engine/routing/gate_noise.h"

namespace gs::cuda {

constexpr float kSmallest = -0x1.fffffcp127f;   // what -inf becomes: one step above what NaN becomes

/// What is in force: the policy's, or for the sum of native weights the model's own.
struct RouteRule {
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
struct RoutedToken {
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

__device__ inline float scaled_logit(float logit, float temperature) {
    if (std::isnan(logit)) return -FLT_MAX;
    return fminf(fmaxf(temperature == 1.0f ? logit : logit / temperature, kSmallest), FLT_MAX);
}

/// In place; n values in shared memory.
__device__ inline void softmax(RoutedToken& t, float* values, int n) {
    float top = -FLT_MAX;
    for (int i = t.lane; i < n; i += kWarp) top = fmaxf(top, values[i]);
    top = warp_max(top);
    t.each(n, [&](int i) { values[i] = expf(values[i] - top); });
    const float inverse = 1.0f / t.sum(n, [&](int i) { return values[i]; });
    t.each(n, [&](int i) { values[i] *= inverse; });
}

__device__ inline void score(RoutedToken& t, const RouteRule& rule) {
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

__device__ inline void selection_scores(RoutedToken& t, const RouteRule& rule) {
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

__device__ inline float group_score(GroupScore kind, const float* scores, int n) {
    float best = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; ++i) {
        const float s = scores[i];
        second = s > best ? best : fmaxf(second, s);
        best = fmaxf(best, s);
    }
    return kind == GroupScore::kTop2Sum && second > -INFINITY ? fmaxf(best + second, -FLT_MAX) : best;
}

/// -inf outside the best groups; `left` holds the groups' scores meanwhile.
__device__ inline void limit_groups(RoutedToken& t, const RouteRule& rule) {
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

}  // namespace gs::cuda
