// Parts of the panel about one expert: bars by label, importance, tokens in context, partners, vocabulary near its router row.
#pragma once

#include <vector>

#include "app/views/view.h"
#include "engine/run/expert_profile.h"
#include "engine/run/router_words.h"

namespace app {

/// A row per label: share as a bar with the expert's overall share as a line and the band of chance, lift, tokens.
void draw_label_uses(const char* id, const ViewContext& context, const std::vector<gs::LabelUse>& uses, double overall);
/// Value, what chance gives, rank in the layer, and the layer's range.
void draw_figures(const ViewContext& context, const gs::ExpertProfile& profile);
/// Tokens with counts, lift and its band; contexts below each.
void draw_profile_tokens(ViewContext& context, const gs::ExpertProfile& profile);
/// The first few. Returns the expert that was clicked, or -1.
int draw_partners(const char* id, ViewContext& context, const std::vector<gs::Partner>& partners, int moe_layer);
void draw_router_words(const ViewContext& context, const gs::RouterWords& words);

}  // namespace app
