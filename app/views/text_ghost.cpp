#include "app/views/text_ghost.h"

#include <algorithm>

#include "app/views/load_ghost.h"
#include "app/widgets/token_text.h"

namespace app {

static constexpr size_t kLongest_bytes = 1200;   ///< more than a wide strip's line, and what a card still shows

void TextGhost::update(const ViewContext& context) {
    const gs::TraceSnapshot& now = context.what_if.run_trace();
    const gs::RunResult* previous = context.state.previous.get();
    if (!previous || !context.run || now.empty() || previous->trace.empty() || previous->trace.info().model_hash != now.info().model_hash || now.info().lacks.text ||
        previous->trace.info().lacks.text) {
        m_at = -1;
        m_run = 0;
        return;
    }
    const gs::TraceSnapshot& before = previous->trace;
    const bool live = context.run->phase != gs::RunPhase::kFinished;
    if (context.run->id == m_run && before.revision() == m_before && now.revision() == m_revision && live == m_live) return;
    if (context.run->id != m_run || before.revision() != m_before || m_n_equal > now.n_tokens()) m_n_equal = 0;
    m_run = context.run->id, m_before = before.revision(), m_revision = now.revision(), m_live = live;
    const int n = std::min(now.n_tokens(), before.n_tokens());
    while (m_n_equal < n && now.token(m_n_equal).text == before.token(m_n_equal).text) ++m_n_equal;
    const bool parted = m_n_equal < n || now.n_tokens() > n || (before.n_tokens() > n && !live);   // a run that goes on may still follow the one before
    m_at = parted ? m_n_equal : -1;
    if (!parted) return;
    m_name = name_of_previous(before);
    read_continuation(before);
}

void TextGhost::read_continuation(const gs::TraceSnapshot& before) {
    std::string bytes;
    int t = m_at;
    for (; t < before.n_tokens() && bytes.size() < kLongest_bytes; ++t) bytes += before.token(t).text;
    m_continuation = bytes.empty() ? "(ended here)" : visible_name(bytes) + (t < before.n_tokens() ? "…" : "");
}

}  // namespace app
