// The standard hover card of a (token, layer, expert) pick, the same in every panel.
#pragma once

#include "app/views/view.h"

namespace app {

/// What the trace on screen says about the pick, with provenance. Parts that are -1 are left out. hint: what a click does, at the end.
void pick_card(ViewContext& context, const Pick& pick, const char* hint = nullptr);
/// "what-if" (in its colour), "computed" or "replayed".
void provenance_badge(const ViewContext& context, gs::Provenance provenance);

}  // namespace app
