// Back ends and a decoder on them, for a model: on a device as far as it has room, the rest on the processor.
#pragma once

#include <climits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/ops/make_ops.h"

namespace gs {

/// Which engine is asked for.
struct EngineRequest {
    EngineKind kind = EngineKind::kAuto;
    OpsOptions ops;
    std::optional<int> gpu_layers;     ///< layers on the device, counted from the last; none: as many as fit. Of kinds that use a device
    int most_gpu_layers = INT_MAX;     ///< no more than so many
    DeviceMaker make_device;           ///< none: make_cuda_ops()
    std::shared_ptr<RoutingViewer> viewer;   ///< who draws the routing; null: nobody
};

struct StartedEngine {
    std::unique_ptr<Decoder> decoder;
    int n_on_device = 0;               ///< layers
    std::string remark;                ///< one sentence where it is not what was asked for, or less than the machine seems to offer; else empty
};

/// The last n_on_device of a model's layers on the device, the others on the processor.
std::vector<StageEngine> divide_layers(int n_layers, int n_on_device, std::shared_ptr<Ops> device, const OpsOptions& options);

/// Where a device has too little memory after all, fewer layers go there; where it fails while the model is brought to it, none. Errors: those of
/// Decoder::create on the processor.
Result<StartedEngine> start_engine(std::shared_ptr<const Model> model, const EngineRequest& request, const DecoderOptions& options);

}  // namespace gs
