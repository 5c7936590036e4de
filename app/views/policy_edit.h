// What every routing control does: preview while it is dragged (recorded logits, same frame), commit when it is let go (a real re-run).
//
//   gs::Policy policy = shown_policy(context);
//   if (ImGui::SliderInt("k###k", &policy.k, 1, E)) preview_policy(context, policy);
//   if (ImGui::IsItemDeactivatedAfterEdit()) commit_policy(context, policy);
#pragma once

#include "app/views/view.h"

namespace app {

/// The policy the picture shows: the one being tried, else the one in force.
const gs::Policy& shown_policy(const ViewContext& context);
/// Re-routes the recorded logits under `policy` from this frame on; nothing is computed by the model.
void preview_policy(ViewContext& context, const gs::Policy& policy);
/// Makes it the policy in force. A finished run of the loaded model is run again and compared; a running one goes on with it from the next
/// token; without a model the picture stays a what-if.
void commit_policy(ViewContext& context, const gs::Policy& policy);
/// preview and commit in one, for buttons.
void apply_policy(ViewContext& context, const gs::Policy& policy);
/// Back to the recorded routing when the re-run that was asked for is there, failed or was cancelled. Once per frame, before any view
/// draws.
void settle_what_if(const gs::SessionState& state, WhatIfCache& what_if);

/// The run was made with the model that is loaded. False for none.
bool is_of_model(const gs::SessionState& state, const gs::RunResult* run);
/// The run on screen can be run again: its model is the loaded one.
bool can_rerun(const gs::SessionState& state);
/// The request a Run, Step or re-run sends, from the prompt box and the policy in force.
gs::RunRequest make_request(const ViewContext& context);

}  // namespace app
