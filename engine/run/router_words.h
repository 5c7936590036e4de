// What a router is tuned to, read off its weights: the tokens whose embeddings point most nearly along an expert's row of the router.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/model/model.h"

namespace gs {

struct RouterWord {
    int32_t id = 0;
    std::string text;                        ///< exact bytes
    double cosine = 0;
};

/// The direction: the expert's router row times the weight of the norm in front of it, less the mean over all experts (adding the same to every logit changes
/// no softmax). Compared with the embedding rows less their mean. A reading of weights, not of a run: in deep layers the hidden state has long left the
/// embedding behind, so look at the null.
struct RouterWords {
    std::string model_hash;
    int moe_layer = 0, layer = 0, expert = 0;
    std::vector<RouterWord> nearest;         ///< largest cosine first
    int n_vocabulary = 0, n_directions = 0;
    double random_mean = 0, random_most = 0; ///< largest cosine that random directions reach: mean and most of n_directions of them
};

/// Errors: kUsage "out_of_range", kCancelled. Reads the whole embedding twice.
Result<RouterWords> router_words(const Model& model, int moe_layer, int expert, int n_words, const CancelFlag* cancel = nullptr);

}  // namespace gs
