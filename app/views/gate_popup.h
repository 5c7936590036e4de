// The gates beyond k: top-p, threshold, expert choice, noise and capacity, and what a capacity drops by position.
#pragma once

#include "app/views/view.h"
#include "engine/routing/choices.h"

namespace app {

/// "p 0.7 · σ 0.5 · capacity 1.25": what of these is in force; empty if nothing.
std::string gate_summary(const gs::Policy& policy);

class GatePopup {
public:
    /// The button with the summary on it, which opens the popup.
    void draw(ViewContext& context, const gs::RouterSpec& router);

private:
    void rules(ViewContext& context, const gs::RouterSpec& router);
    void noise(ViewContext& context);
    void capacity(ViewContext& context);
    void drops(ViewContext& context);

    gs::ChoicesByPosition m_drops;         ///< of m_drops_revision
    uint64_t m_drops_revision = 0;
};

}  // namespace app
