#include "engine/run/start_engine.h"

#include "engine/model/model.h"

namespace gs {
namespace {

/// What a device must hold: the matrices and vectors; keys, values and work are counted when the decoder asks for them.
uint64_t weight_bytes(const Model& model) {
    uint64_t sum = 0;
    for (const Weight& w : model.weights.matrices()) sum += w.n_bytes();
    for (const Weight& w : model.weights.others(0, model.spec.n_layers)) sum += w.n_bytes();
    return sum;
}

}  // namespace

Result<StartedEngine> start_engine(std::shared_ptr<const Model> model, EngineKind kind, const OpsOptions& ops, const DecoderOptions& options) {
    MadeOps made = make_ops(kind, ops, weight_bytes(*model));
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(model, made.ops, options);
    const bool on_device = (kind == EngineKind::kAuto || kind == EngineKind::kCuda) && made.remark.empty();
    if (!decoder && on_device && (decoder.error().kind == ErrorKind::kDevice || decoder.error().code == "out_of_memory")) {
        made = make_ops_instead(ops, decoder.error());
        decoder = Decoder::create(model, made.ops, options);
    }
    if (!decoder) return decoder.error();
    return StartedEngine{std::move(made.ops), std::move(*decoder), std::move(made.remark)};
}

}  // namespace gs
