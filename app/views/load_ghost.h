// The load of the experts as it was before: of the run before with the same prompt, or while a change of routing is tried, of the run as it was recorded.
// Drawn as a thin outline behind the load that is shown now (ux.md R15).
#pragma once

#include <string>
#include <vector>

#include "app/views/layer_stats.h"
#include "app/views/view.h"

namespace app {

/// "previous: k=4"
std::string name_of_previous(const gs::TraceSnapshot& trace);

class LoadGhost {
public:
    /// Every frame; does nothing unless something changed.
    void update(const ViewContext& context);
    /// There is a load to compare with, of the same layers and experts. While the pinned run is flashed it is there, but not shown.
    bool ready() const { return m_ready; }
    /// "previous: k=4", "as run: native".
    const std::string& name() const { return m_name; }
    /// Share of the tokens that used these experts; empty where there is no ghost.
    std::vector<float> shares(int moe_layer, const std::vector<int>& experts) const;
    double max_share() const { return is_shown() ? m_stats.max_share() : 0; }
    /// Changes with the content.
    uint64_t revision() const { return is_shown() ? 1 + m_stats.revision() : 0; }

private:
    RunStats m_stats;
    std::string m_name;
    bool is_shown() const { return m_ready && !m_flashed; }
    bool m_ready = false, m_flashed = false;
};

}  // namespace app
