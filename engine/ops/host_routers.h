// Routing for back ends whose memory is the host's.
#pragma once

#include <vector>

#include "engine/ops/ops.h"

namespace gs {

class HostRouters final : public Routers {
public:
    void set(std::span<const LayerRouter> layers) override;
    void route(const RouteCall& call);

private:
    /// A LayerRouter with a bias of its own.
    struct Layer {
        RouterSpec spec;
        LayerPolicy policy;
        std::vector<float> selection_bias;
    };
    std::vector<Layer> m_layers;
    RouteRow m_row;
};

}  // namespace gs
