// Which experts the router on the device chooses by their scores, and which of those a rule keeps.
#pragma once

#include "engine/ops/cuda/route_scores.cuh"

namespace gs::cuda {

/// Takes the best of `left` until k are chosen or only -inf is left.
__device__ inline void take_best(RoutedToken& t, int k) {
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

__device__ inline void select(RoutedToken& t, const RouteRule& rule) {
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

/// Of the chosen those that `keeps` says, asked once each, best first, by every lane alike.
template <class F>
__device__ void keep_chosen(RoutedToken& t, F keeps) {
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
__device__ inline void keep_top_p(RoutedToken& t, const RouteRule& rule) {
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

}  // namespace gs::cuda
