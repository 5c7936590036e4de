#include "app/views/layer_policy_panel_draft.h"

#include "app/views/policy_edit.h"
#include "app/views/route_data.h"

namespace app {

void LayerPolicyDraft::take_shown(const ViewContext& context) {
    const gs::Policy before = policy;
    policy = shown_policy(context);
    if (!(policy == before)) error.clear();
    layers = split_layers(policy, context.what_if.trace().info().moe_layers);
}

void LayerPolicyDraft::changed(ViewContext& context, bool commit) {
    policy = join_layers(policy, layers, context.what_if.trace().info().moe_layers);
    error.clear();
    preview_policy(context, policy);
    if (commit) commit_policy(context, policy);
}

void LayerPolicyDraft::apply_text(ViewContext& context, const std::string& text) {
    const gs::TraceInfo& info = context.what_if.trace().info();
    const auto parsed = gs::Policy::parse(text);
    if (!parsed) {
        error = parsed.error().message();
        return;
    }
    if (const auto fits = parsed->check(info.router, n_model_layers(info)); !fits) {
        error = fits.error().message();
        return;
    }
    error.clear();
    policy = *parsed;
    layers = split_layers(policy, info.moe_layers);
    apply_policy(context, policy);
}

void LayerPolicyDraft::reset(ViewContext& context) {
    policy = {};
    layers.assign(layers.size(), {});
    changed(context, true);
}

void LayerPolicyDraft::drop_layer_rules() {
    for (LayerEdit& edit : layers) edit.rule.reset(), edit.k.reset(), edit.p.reset(), edit.tau.reset();
}

void LayerPolicyDraft::cycle_expert(ViewContext& context, int moe_layer, int expert) {
    LayerEdit& edit = layers[static_cast<size_t>(moe_layer)];
    const LayerEdit before = edit;
    const ExpertState state = state_of(edit, expert);
    set_state(edit, expert, static_cast<ExpertState>((static_cast<int>(state) + 1) % 3));
    const gs::TraceInfo& info = context.what_if.trace().info();
    const gs::Policy next = join_layers(policy, layers, info.moe_layers);
    const auto fits = next.check(info.router, n_model_layers(info));
    if (fits) return changed(context, true);
    const std::string why = fits.error().message();
    // Forcing one more than k allows: skip to free, so that the expert never gets stuck.
    set_state(edit, expert, state == ExpertState::kMasked ? ExpertState::kFree : state);
    if (!(edit == before)) changed(context, true);
    error = why;
}

}  // namespace app
