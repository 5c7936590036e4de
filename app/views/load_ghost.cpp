#include "app/views/load_ghost.h"

namespace app {

void LoadGhost::update(const ViewContext& context) {
    m_ready = false;
    const gs::TraceSnapshot& shown = context.what_if.trace();
    const bool tried = context.what_if.active();
    const gs::RunResult* previous = context.flashed() ? nullptr : context.state.previous.get();
    if (!tried && !previous) return;
    const gs::TraceSnapshot& before = tried ? context.what_if.run_trace() : previous->trace;
    if (before.empty() || before.info().model_hash != shown.info().model_hash || before.n_moe_layers() != shown.n_moe_layers() || before.n_experts() != shown.n_experts()) return;
    m_stats.update(before, context.settings.phase);
    if (m_stats.n_layers() == 0 || m_stats.layer(0).load.n_tokens == 0) return;
    m_name = (tried ? "as run: " : "previous: ") + before.policy(before.n_tokens() - 1).to_text();
    m_ready = true;
}

std::vector<float> LoadGhost::shares(int moe_layer, const std::vector<int>& experts) const {
    std::vector<float> out;
    if (!m_ready) return out;
    for (const int expert : experts) out.push_back(static_cast<float>(m_stats.layer(moe_layer).share(expert)));
    return out;
}

}  // namespace app
