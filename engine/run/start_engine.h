// A back end and a decoder on it, for a model.
#pragma once

#include <memory>
#include <string>

#include "engine/decode/decoder.h"
#include "engine/ops/make_ops.h"

namespace gs {

struct StartedEngine {
    std::shared_ptr<Ops> ops;
    std::unique_ptr<Decoder> decoder;
    std::string remark;                ///< as MadeOps::remark
};

/// Where a device has too little memory after all, or fails while the model is brought to it, the CPU takes over. Errors: those of Decoder::create.
Result<StartedEngine> start_engine(std::shared_ptr<const Model> model, EngineKind kind, const OpsOptions& ops, const DecoderOptions& options);

}  // namespace gs
