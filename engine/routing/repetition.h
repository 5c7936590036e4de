// How long routing stays: repetition from one token to the next, and whether a token's routing hangs on its id or on its context. metrics.md 1.3, 1.5 and 2.
#pragma once

#include <cstdint>
#include <span>

#include "engine/routing/chance.h"
#include "engine/routing/layer_routes.h"

namespace gs {

/// Over pairs of consecutive tokens of the same segment (Mixtral of Experts, Table 5).
struct Repetition {
    uint32_t n_pairs = 0;
    double first = 0;                        ///< share with the same first choice
    double any = 0;                          ///< share whose sets have an expert in common
    double uniform_first = 0;                ///< 1/E
    double uniform_any = 0;                  ///< 1 - C(E - k, k)/C(E, k)
    ShuffleNull shuffled_first, shuffled_any;   ///< the tokens of each segment in another order: what the loads alone give
};
/// segments: [T]; pairs do not reach over a change.
Repetition consecutive_repetition(const LayerRoutes& routes, std::span<const int16_t> segments, int n_shuffles, uint64_t seed);

/// Two occurrences of one token id in different places, against two tokens at random: near 1, the id decides; near the null, the context does.
struct IdEffect {
    int n_ids = 0;                           ///< ids with at least two occurrences
    uint32_t n_pairs = 0;
    double jaccard = 0;                      ///< mean over ids of the mean |A ∩ B| / |A ∪ B| over pairs of occurrences
    double same_first = 0;                   ///< of the share of pairs with the same first choice, likewise
    double uniform = 0;                      ///< mean Jaccard of two sets of k out of E, taken independently
    ShuffleNull shuffled;                    ///< Jaccard, the routes dealt out to the tokens anew
};
/// At most pairs_per_id pairs of an id, spread over its occurrences. token_ids: [T].
IdEffect token_id_effect(const LayerRoutes& routes, std::span<const int32_t> token_ids, int pairs_per_id, int n_shuffles, uint64_t seed);

}  // namespace gs
