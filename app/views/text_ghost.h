// What the run before wrote from the first token on that differs: a dim line in the token strip under the place where the texts part (ux.md R15).
#pragma once

#include <string>

#include "app/views/view.h"

namespace app {

class TextGhost {
public:
    /// Every frame in which the run on screen is drawn; looks at new tokens only.
    void update(const ViewContext& context);
    /// The texts part, and it is known where.
    bool ready() const { return m_at >= 0; }
    /// First token that differs, in both runs; the number of tokens where this run ends in the middle of the one before.
    int at() const { return m_at; }
    /// "previous: k=4"
    const std::string& name() const { return m_name; }
    /// How the run before went on, everything in it visible; its beginning where it is long. "(ended here)" where it had no more tokens.
    const std::string& continuation() const { return m_continuation; }

private:
    void read_continuation(const gs::TraceSnapshot& before);

    uint64_t m_run = 0, m_before = 0, m_revision = 0;   ///< id of the run; revisions of the trace before and of the run's
    bool m_live = false;
    int m_n_equal = 0, m_at = -1;
    std::string m_name, m_continuation;
};

}  // namespace app
