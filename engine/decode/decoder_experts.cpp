// The chosen experts of a batch one slot at a time, for analyses of single experts. Made of the same operations as the pass itself, so that every back end can.
#include <algorithm>
#include <vector>

#include "engine/core/check.h"
#include "engine/decode/decoder_stage.h"

namespace gs {

void DecoderStage::hand_over_experts(int l, int n_rows, int first_row) {
    const RouteCall route = routing.call(moe_row(l), n_rows);
    const auto rows = static_cast<size_t>(n_rows), stride = static_cast<size_t>(route.k_stride), width = static_cast<size_t>(spec().n_embd);
    if (!alone) {
        const auto batch = static_cast<size_t>(shared.max_batch);
        const bool made = alone.allocate(*ops, batch, width) && alone_used.allocate(*ops, batch, 1) && alone_weights.allocate(*ops, batch, static_cast<size_t>(spec().router.n_experts));
        GS_CHECK(made, "no memory for the outputs of single experts");
        const std::vector<float> ones(batch * static_cast<size_t>(spec().router.n_experts), 1.0f);
        ops->write(ones.data(), alone_weights.data(), ones.size());
    }
    // 32-bit integers travel as floats: bytes are copied, not converted.
    std::vector<int32_t> n_used(rows), used(rows);
    std::vector<float> weights(rows * stride);
    ops->read(reinterpret_cast<const float*>(route.n_used), reinterpret_cast<float*>(n_used.data()), rows);
    ops->read(route.weights, weights.data(), weights.size());
    const auto slots = static_cast<size_t>(*std::max_element(n_used.begin(), n_used.end()));
    const bool weigh_input = spec().router.weigh_input;
    std::vector<float> outputs(slots * rows * width), packed(rows * slots);
    for (size_t j = 0; j < slots; ++j) {
        for (size_t t = 0; t < rows; ++t) used[t] = n_used[t] > static_cast<int32_t>(j);
        ops->write(reinterpret_cast<const float*>(used.data()), alone_used.data(), rows);
        ops->moe({.x = normed.rows(n_rows), .experts = &layer(l).experts, .ids = route.ids + j, .weights = weigh_input ? route.weights + j : alone_weights.data(),
                  .n_used = reinterpret_cast<const int32_t*>(alone_used.data()), .k_stride = route.k_stride, .weigh_input = weigh_input, .out = alone.rows(n_rows), .k_most = 1});
        ops->read(alone.data(), outputs.data() + j * rows * width, rows * width);
        for (size_t t = 0; t < rows; ++t) packed[t * slots + j] = used[t] ? weights[t * stride + j] : 0;
    }
    shared.on_experts({.moe_layer = n_moe_before + moe_row(l), .first_row = first_row, .n_rows = n_rows, .k = static_cast<int>(slots), .outputs = outputs, .weights = packed, .n_used = n_used});
}

}  // namespace gs
