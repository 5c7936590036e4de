// The engine of the model that is loaded: starting it, losing it, starting it again.
#include <fmt/format.h>

#include <algorithm>

#include "engine/run/plan_layers.h"
#include "engine/run/session_impl.h"

namespace gs {

bool is_about_engine(const Notice& notice) {
    const std::string& code = notice.error.code;
    return code == "engine" || code == "engine_failed" || code == "device_failed" || code == "device_memory";
}

bool Session::Impl::need_engine(const char* what) {
    if (decoder && !seen()->engine_failed) return true;
    if (model)
        fail({ErrorKind::kDevice, "engine_failed", fmt::format("{} needs the engine to start again", what), "it failed and computes nothing any more",
              "Restart the engine"});
    else
        fail({ErrorKind::kUsage, "no_model", fmt::format("{} needs a model", what), "none is loaded", "Load a model first"});
    return false;
}

void Session::Impl::release_engine() {
    end_generator(StopReason::kStopped);
    generator.reset();
    compare_with.reset();
    decoder.reset();
    n_on_device = 0;
    cached_run = 0;
}

std::optional<std::string> Session::Impl::start_engine(const std::shared_ptr<const Model>& of) {
    // A device has hardly room for two models; one in the host's memory goes on until the next is there.
    if (n_on_device > 0 || seen()->engine_failed) release_engine();
    EngineRequest request = options.engine;
    request.most_gpu_layers = most_gpu_layers;
    DecoderOptions how;
    how.on_weights = [this](uint64_t done, uint64_t total) {
        constexpr uint64_t kMB = 1000000;
        keep_up(CommandKind::kRestartEngine, static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(total, 1)),
                fmt::format("{} of {} MB to the device", done / kMB, total / kMB));
        return !cancel_job.is_set();
    };
    Result<StartedEngine> fresh = gs::start_engine(of, request, how);
    if (!fresh) {
        if (!decoder && model) edit([](SessionState& s) { s.engine_failed = true; });
        if (fresh.error().kind == ErrorKind::kCancelled && !decoder && model)
            post({.is_error = false, .error = {ErrorKind::kDevice, "engine", "The engine is not running", "weights were on their way to the device when this was cancelled",
                                               "Restart the engine"}});
        fail(fresh.error());
        return std::nullopt;
    }
    release_engine();
    decoder = std::move(fresh->decoder);
    n_on_device = fresh->n_on_device;
    return std::move(fresh->remark);
}

void Session::Impl::restart_engine() {
    if (!model) return;
    begin(Activity::kStartingEngine);
    if (const auto remark = start_engine(model)) show_engine(*remark, [](SessionState&) {});
}

Error Session::Impl::engine_failure(const Error& error) {
    edit([](SessionState& s) { s.engine_failed = true; });
    Error said = error;
    if (error.code != "device_memory" || n_on_device == 0) return said;
    most_gpu_layers = fewer_layers(n_on_device);
    const int n_layers = model->spec.n_layers;
    said.why += fmt::format("; {} of {} layers are there", n_on_device, n_layers);
    said.remedy = most_gpu_layers > 0 ? fmt::format("Restart the engine: it starts again with {} layers there. Or ask for a shorter context", most_gpu_layers)
                                      : "Restart the engine: it starts again on the processor";
    return said;
}

}  // namespace gs
