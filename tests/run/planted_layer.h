// A model in which k matters in one layer only: elsewhere the best expert has all of the weight, whatever the others are.
#pragma once

#include <algorithm>

#include "tests/decode/decoder_fixture.h"

namespace gs::test {

class PlantedLayer final : public ForwardingOps {
public:
    PlantedLayer(std::shared_ptr<Ops> inner, int layer) : ForwardingOps(std::move(inner)), m_layer(layer) {}
    void route(const RouteCall& call) override {
        ForwardingOps::route(call);
        if (call.layer == m_layer) return;
        for (int t = 0; t < call.logits.n_rows; ++t) {
            float* weights = call.weights + static_cast<std::ptrdiff_t>(t) * call.k_stride;
            weights[0] = 1;
            std::fill(weights + 1, weights + call.n_used[t], 0.0f);
        }
    }

private:
    int m_layer;
};

}  // namespace gs::test
