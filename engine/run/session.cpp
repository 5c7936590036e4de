#include "engine/run/session.h"

#include <array>

#include "engine/run/session_impl.h"

namespace gs {

const char* name_of(Activity activity) {
    constexpr std::array names = {"idle", "loading model", "loading trace", "running", "comparing gates", "comparing runs", "sweeping k",
                                  "mapping sensitivity", "checking a schedule", "starting engine", "studying experts", "reading a router", "ablating experts",
                                  "running two models"};
    return names[static_cast<size_t>(activity)];
}

Session::Session(SessionOptions options) : m_impl(std::make_unique<Impl>(std::move(options))) {}
Session::~Session() = default;

std::shared_ptr<const SessionState> Session::latest() const { return m_impl->latest(); }
bool Session::wait_idle(double timeout_seconds) const { return m_impl->wait_idle(timeout_seconds); }

void Session::inspect_model(const std::filesystem::path& path) { m_impl->push({.kind = CommandKind::kInspect, .path = path}); }
void Session::load_model(const std::filesystem::path& path) { m_impl->push({.kind = CommandKind::kLoadModel, .path = path}); }
void Session::load_trace(const std::filesystem::path& path) { m_impl->push({.kind = CommandKind::kLoadTrace, .path = path}); }
void Session::save_trace(const std::filesystem::path& path) { m_impl->push({.kind = CommandKind::kSaveTrace, .path = path}); }
void Session::export_run(const std::filesystem::path& path, RunWriter writer) {
    m_impl->push({.kind = CommandKind::kExport, .path = path, .writer = std::move(writer)});
}
void Session::pin_run() { m_impl->push({.kind = CommandKind::kPin}); }
void Session::unpin() { m_impl->push({.kind = CommandKind::kUnpin}); }
void Session::swap_pinned() { m_impl->push({.kind = CommandKind::kSwapPinned}); }
void Session::run(const RunRequest& request) { m_impl->push({.kind = CommandKind::kRun, .request = request}); }
void Session::rerun_and_compare(const Policy& policy) { m_impl->push({.kind = CommandKind::kRerun, .policy = policy}); }
void Session::step(const RunRequest& request) { m_impl->push({.kind = CommandKind::kStep1, .request = request}); }
void Session::resume() { m_impl->push({.kind = CommandKind::kResume}); }
void Session::stop() { m_impl->push({.kind = CommandKind::kStop}); }
void Session::set_policy(const Policy& policy) { m_impl->push({.kind = CommandKind::kSetPolicy, .policy = policy}); }
void Session::request_gates(int token, int moe_layer) {
    m_impl->push({.kind = CommandKind::kGates, .token = token, .moe_layer = moe_layer});
}
void Session::request_sweep(const SweepRequest& request) {
    m_impl->push({.kind = CommandKind::kSweep, .sweep = request});
}
void Session::restart_engine() { m_impl->push({.kind = CommandKind::kRestartEngine}); }
void Session::request_sensitivity(const SensitivityRequest& request) { m_impl->push({.kind = CommandKind::kSensitivity, .sensitivity = request}); }
void Session::request_schedule(const Budget& budget, std::vector<int> ks) {
    m_impl->push({.kind = CommandKind::kSchedule, .budget = budget, .ks = std::move(ks)});
}
void Session::request_expert_study(const StudyRequest& request) { m_impl->push({.kind = CommandKind::kStudy, .study = request}); }
void Session::request_router_words(int moe_layer, int expert) {
    m_impl->push({.kind = CommandKind::kRouterWords, .moe_layer = moe_layer, .expert = expert});
}
void Session::request_ablation(const AblationRequest& request) { m_impl->push({.kind = CommandKind::kAblate, .ablation = request}); }
void Session::request_side_by_side(const SideRequest& request) { m_impl->push({.kind = CommandKind::kSideBySide, .side = request}); }
void Session::cancel() { m_impl->push({.kind = CommandKind::kCancel}); }

// These change what is shown and nothing else, so they need not wait for the run thread.
void Session::dismiss_estimate() {
    m_impl->edit([](SessionState& s) { s.estimate.reset(); });
}
void Session::dismiss_notice(uint64_t id) {
    m_impl->edit([id](SessionState& s) { std::erase_if(s.notices, [id](const Notice& n) { return n.id == id; }); });
}
void Session::notify(Notice notice) { m_impl->post(std::move(notice)); }

}  // namespace gs
