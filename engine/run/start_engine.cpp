#include "engine/run/start_engine.h"

#include <algorithm>
#include <utility>

#include "engine/model/model.h"
#include "engine/run/plan_layers.h"

namespace gs {
namespace {

bool is_short_of_memory(const Error& error) { return error.code == "out_of_memory" || error.code == "device_memory"; }

Result<StartedEngine> start_on(std::shared_ptr<const Model> model, MadeOps made, const DecoderOptions& options) {
    GS_TRY(auto decoder, Decoder::create(std::move(model), std::move(made.ops), options));
    return StartedEngine{.decoder = std::move(decoder), .remark = std::move(made.remark)};
}

}  // namespace

std::vector<StageEngine> divide_layers(int n_layers, int n_on_device, std::shared_ptr<Ops> device, const OpsOptions& options) {
    const int cut = n_layers - n_on_device;
    if (cut <= 0) return {{std::move(device), 0, n_layers}};
    return {{make_cpu_ops(options), 0, cut}, {std::move(device), cut, n_layers}};
}

namespace {

Result<StartedEngine> start(std::shared_ptr<const Model> model, const EngineRequest& request, const DecoderOptions& options) {
    const int n_layers = model->spec.n_layers;
    const bool wants_device = (request.kind == EngineKind::kAuto || request.kind == EngineKind::kCuda) && request.gpu_layers != 0;
    MadeOps made = make_ops(wants_device || request.kind == EngineKind::kReference ? request.kind : EngineKind::kCpu, request.ops, request.make_device);
    if (!made.on_device) return start_on(std::move(model), std::move(made), options);
    const std::string device = made.ops->name();
    DecoderOptions planned = options;
    if (planned.n_ctx <= 0) planned.n_ctx = model->n_ctx;
    const LayerPlan plan = plan_layers(model->spec, model->weights, *made.ops, planned);
    const int asked = std::min({request.gpu_layers.value_or(plan.n_on_device), request.most_gpu_layers, n_layers});
    for (int n = asked; n > 0; n = fewer_layers(n)) {
        Result<std::unique_ptr<Decoder>> decoder = Decoder::create(model, divide_layers(n_layers, n, std::move(made.ops), request.ops), options);
        if (decoder) {
            const bool as_asked = n == n_layers || (request.gpu_layers && n == asked);
            return StartedEngine{std::move(*decoder), n, as_asked ? "" : to_sentence(plan, n, device)};
        }
        if (!is_short_of_memory(decoder.error()) && decoder.error().kind == ErrorKind::kDevice)
            return start_on(std::move(model), make_ops_instead(request.ops, decoder.error()), options);
        if (!is_short_of_memory(decoder.error())) return decoder.error();
        // An engine that found no memory says so for good: another one for the next try.
        made = make_ops(request.kind, request.ops, request.make_device);
        if (!made.on_device) return start_on(std::move(model), std::move(made), options);
    }
    made.ops.reset();
    return start_on(std::move(model), make_ops_instead(request.ops, {ErrorKind::kDevice, "device_memory", "", to_sentence(plan, 0, device), ""}), options);
}

}  // namespace

Result<StartedEngine> start_engine(std::shared_ptr<const Model> model, const EngineRequest& request, const DecoderOptions& options) {
    GS_TRY(StartedEngine started, start(std::move(model), request, options));
    started.decoder->share_routing(request.viewer);
    return started;
}

}  // namespace gs
