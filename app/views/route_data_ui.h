// Small drawing parts shared by the panels about routes: empty states, wrapping tool bars, captions.
#pragma once

#include <string>
#include <string_view>

#include "app/views/view.h"

namespace app {

/// Draws why there is nothing to show (no run, dense model) and returns true; false when the trace has routes.
bool draw_if_no_routes(ViewContext& context, const gs::TraceSnapshot& trace);
/// Draws that a recorded run holds no router logits and returns true; false when it does.
bool draw_if_no_logits(const gs::TraceSnapshot& trace);
/// Continues the line if an item of this width still fits, else starts a new one.
void same_line_if_fits(float width_px);
/// Width of a button or combo with this text.
float button_width(const char* text);
/// Wrapped text in the dim colour.
void caption(std::string_view text);
/// The same on the line of the item before when it fits there.
void caption_on_line(std::string_view text);
/// "what-if" or "replayed" at the end of a tool bar; nothing for computed values.
void badge_on_line(const ViewContext& context, gs::Provenance provenance);
/// "12 of 30" stepper over MoE layers; shows blk.N names. True when moe_layer changed.
bool layer_stepper(const char* id, const gs::TraceInfo& info, int& moe_layer);
float layer_stepper_width();
/// Combo over fixed names at a width that fits the longest. True when it changed.
bool name_combo(const char* id, std::span<const char* const> names, int& index, const char* explanation);
float name_combo_width(std::span<const char* const> names);
/// Combo over how much of a text is measured at most, in tokens. True when it changed.
bool text_length_combo(const char* id, int& max_tokens, const char* explanation);
float text_length_combo_width();
/// "both", "prefill", "decode" as joined buttons over ViewSettings::phase.
void phase_buttons(ViewContext& context);
float phase_buttons_width();

}  // namespace app
