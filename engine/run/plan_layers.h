// How many of a model's layers a device has room for. As in llama.cpp the last ones go there, and the head with them; the first ones stay on the
// processor.
#pragma once

#include <cstdint>
#include <string>

#include "engine/decode/decoder.h"

namespace gs {

struct LayerPlan {
    int n_layers = 0, n_on_device = 0;
    int n_ctx = 0;                       ///< the plan's
    uint64_t free_bytes = 0;             ///< of the device
    uint64_t least_bytes = 0;            ///< what one layer and the head take of it
    uint64_t device_bytes = 0;           ///< what n_on_device layers and the head take: weights as the device keeps them, keys and values, room to work
    uint64_t whole_bytes = 0;            ///< what all layers, embedding and head would
    int shorter_n_ctx = 0;               ///< a context that would let more layers fit; 0: all fit, or a shorter context does not help
    int n_with_shorter = 0;              ///< how many
    bool is_whole() const { return n_on_device == n_layers; }
};

/// device has free_memory(). From the shapes of the weights alone: they may be of a file that is not loaded. options.n_ctx is positive.
LayerPlan plan_layers(const ModelSpec& spec, const ModelWeights& weights, const Ops& device, const DecoderOptions& options);

/// "12 of 48 layers are on cuda NVIDIA X; a context of 2048 would let 16 fit". n_on_device: as it came out.
std::string to_sentence(const LayerPlan& plan, int n_on_device, const std::string& device);

/// How many to try with when n found no memory after all.
int fewer_layers(int n);

}  // namespace gs
