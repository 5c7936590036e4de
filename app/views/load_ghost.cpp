#include "app/views/load_ghost.h"

namespace app {

std::string name_of_previous(const gs::TraceSnapshot& trace) { return "previous: " + trace.policy(trace.n_tokens() - 1).to_text(); }

void LoadGhost::update(const ViewContext& context) {
    m_flashed = context.flashed();
    if (m_flashed) return;
    m_ready = false;
    const gs::TraceSnapshot& shown = context.what_if.trace();
    const bool tried = context.what_if.active();
    const gs::RunResult* previous = context.state.previous.get();
    if (!tried && !previous) return;
    const gs::TraceSnapshot& before = tried ? context.what_if.run_trace() : previous->trace;
    if (before.empty() || before.info().model_hash != shown.info().model_hash || before.n_moe_layers() != shown.n_moe_layers() || before.n_experts() != shown.n_experts()) return;
    m_stats.update(before, context.settings.phase);
    if (m_stats.n_layers() == 0 || m_stats.layer(0).load.n_tokens == 0) return;
    m_name = tried ? "as run: " + before.policy(before.n_tokens() - 1).to_text() : name_of_previous(before);
    m_ready = true;
}

std::vector<float> LoadGhost::shares(int moe_layer, const std::vector<int>& experts) const {
    std::vector<float> out;
    if (!is_shown()) return out;
    for (const int expert : experts) out.push_back(static_cast<float>(m_stats.layer(moe_layer).share(expert)));
    return out;
}

}  // namespace app
