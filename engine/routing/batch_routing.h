// Routing in which tokens depend on one another: experts with a capacity, and experts that choose their tokens.
//
// Capacity (Switch Transformer, arXiv 2101.03961, eq. 3): of T tokens an expert takes at most C = ceil(T k / E * factor), at least 1. In token order, and of
// a token its best expert first, an assignment past C is dropped: the expert adds nothing to the token, the weights of the others stay. T is the length of the
// prompt, which a model sees at once; a token of the answer comes alone, and for it T is the number of tokens so far, itself included, counted from the
// start of the run. So at any time no expert has taken more than its share of what there is. k: that of the rule (E of soft, 1 of hard, the model's own of top-p).
//
// Expert choice (Zhou et al. 2022, arXiv 2202.09368): each expert takes the C best tokens of a block by selection score, equal ones by position, with the weights
// that those experts would have as a token's choice. A token gets none to E experts. It looks ahead, so it is defined where all tokens are known: for the prompt, in
// blocks of 512 positions, the longest batch the decoder runs. Tokens of the answer, and blocks of so few tokens that an expert would take less than one, route as by
// top-k.
//
//   BatchRouter router;
//   router.route(spec, policy, logits, bias, {first_position, n_prompt}, routes);   // batch after batch of one layer
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/routing/router.h"

namespace gs {

constexpr int kExpertChoiceBlock = 512;

/// Most tokens that an expert takes of n_tokens.
int expert_capacity(int n_tokens, int k, int n_experts, float factor);
/// The k of C: how many experts a token uses under the policy's rule.
int capacity_k(const RouterSpec& spec, const LayerPolicy& policy);

/// Rows of a layer, each with as many experts as it has.
struct BatchRoutes {
    std::vector<int32_t> ids;              ///< best first within a row
    std::vector<float> weights;            ///< same places
    std::vector<size_t> ends;              ///< [T] end of each row in ids
    bool nonfinite = false;

    void clear();
    void append(std::span<const int32_t> row_ids, std::span<const float> row_weights);
    std::span<const int32_t> ids_of(size_t row) const { return std::span(ids).subspan(begin_of(row), ends[row] - begin_of(row)); }
    std::span<const float> weights_of(size_t row) const { return std::span(weights).subspan(begin_of(row), ends[row] - begin_of(row)); }
    size_t begin_of(size_t row) const { return row == 0 ? 0 : ends[row - 1]; }
};

/// Where a batch lies in its sequence. Positions from n_prompt on are tokens of the answer.
struct BatchPlace {
    int first_position = 0, n_prompt = 0;
};

/// One layer's, kept from batch to batch of a run: it remembers which experts took which position.
class BatchRouter {
public:
    /// logits [T, E]: the tokens from place.first_position on. What was routed from there on before is forgotten; positions before it that never came here
    /// have taken no expert. selection_bias: [E] or empty.
    void route(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> selection_bias, BatchPlace place,
               BatchRoutes& out);

private:
    void forget_from(int position, int n_experts);
    void choose_by_token(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias, int position,
                         int n_prompt, BatchRoutes& out);
    void choose_by_expert(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> logits, std::span<const float> bias, int first_position,
                          int capacity, BatchRoutes& out);
    void remember(std::span<const int32_t> ids);

    std::vector<int> m_taken;              ///< [E] tokens taken so far
    std::vector<uint16_t> m_ids;           ///< experts of the positions so far
    std::vector<size_t> m_ends;            ///< [positions so far] in m_ids
    RouteRow m_row;
};

}  // namespace gs
