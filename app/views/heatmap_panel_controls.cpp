#include "app/views/heatmap_panel_controls.h"

#include "app/views/chart_tables.h"
#include "app/views/choice_signs.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr const char* kKinds[] = {"token × expert", "layer × expert", "token × layer"};
constexpr const char* kQuantities[] = {"preference", "selection score", "applied weight"};
constexpr const char* kScalars[] = {"top-1 weight", "router entropy", "selection margin"};
constexpr const char* kMaps[] = {"cividis", "viridis", "greys", "blue–orange"};

void quantity_controls(ViewContext& context, HeatmapChoice& choice) {
    if (choice.kind == PictureKind::kTokenLayer) {
        int scalar = static_cast<int>(choice.scalar);
        same_line_if_fits(name_combo_width(kScalars));
        if (name_combo("###scalar", kScalars, scalar, "top-1 weight: the largest applied weight. Router entropy: −Σ p ln p of the preference, in nats. Selection margin: "
                                                      "worst chosen minus best rejected logit; small = a fragile choice."))
            choice.scalar = static_cast<RouteScalar>(scalar);
        return;
    }
    if (choice.kind == PictureKind::kLayerExpert) {
        static constexpr const char* kScopes[] = {"share over run", "one token"};
        static constexpr const char* kExplained[] = {"Share of the run's tokens that used the expert", "The selected token, or the newest when none is selected"};
        int scope = choice.over_run ? 0 : 1;
        same_line_if_fits(button_width(kScopes[0]) + button_width(kScopes[1]));
        if (segmented("scope", kScopes, scope, kExplained)) choice.over_run = scope == 0;
        if (choice.over_run) {
            same_line_if_fits(phase_buttons_width());
            phase_buttons(context);
            return;
        }
    }
    int quantity = static_cast<int>(context.settings.quantity);
    same_line_if_fits(name_combo_width(kQuantities));
    if (name_combo("###quantity", kQuantities, quantity, "Preference: what the router would like, over all experts. Selection score: what the top-k is taken over (bias and "
                                                         "masks included). Applied weight: what multiplies the chosen experts' outputs."))
        context.settings.quantity = static_cast<Quantity>(quantity);
}

/// What the signs are, and how well logits are taken to be known.
void sign_controls(ViewContext& context, const HeatmapChoice& choice) {
    if (!choice.can_have_signs()) return;
    ViewSettings& settings = context.settings;
    same_line_if_fits(button_width("signs") + ImGui::GetFrameHeight());
    ImGui::Checkbox("signs###signs", &settings.choice_signs);
    tooltip(("Zoom in until cells are a few pixels wide. A corner: a fragile choice, on the worst expert chosen and the best one rejected. Two bars: a tie, "
             "equal selection scores there, the lower index wins. A cross: chosen, but dropped by a capacity.\n" +
             fragile_explained({settings.logit_error}))
                .c_str());
    if (!settings.choice_signs) return;
    same_line_if_fits(ImGui::GetFontSize() * 7);
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 7);
    ImGui::DragFloat("###logit_error", &settings.logit_error, 0.002f, 0, 2, settings.logit_error > 0 ? "error %.3f" : "error: bf16", ImGuiSliderFlags_AlwaysClamp);
    tooltip("How well router logits are known. 0: to bf16. Above: their rms error, as gatescope precision measures it between two precisions, or as two traces of two "
            "quantizations of one model differ. Drag to change.");
}

void color_controls(ViewContext& context, HeatmapChoice& choice) {
    same_line_if_fits(name_combo_width(kMaps));
    int map = static_cast<int>(context.settings.map);
    if (name_combo("###map", kMaps, map, "Colour map. Cividis looks nearly the same with and without red–green deficiency.")) context.settings.map = static_cast<ColorMap>(map);
    same_line_if_fits(button_width("auto range") + ImGui::GetFrameHeight());
    ImGui::Checkbox("auto range###auto", &context.settings.auto_range);
    tooltip("Off: fixed limits, so that runs compare. On: from the smallest to the largest value shown; the limits stand at the colour bar.");
    sign_controls(context, choice);
    if (choice.kind == PictureKind::kLayerExpert) return;
    same_line_if_fits(button_width("follow newest") + ImGui::GetFrameHeight());
    ImGui::Checkbox("follow newest###follow", &choice.view().follow);
    tooltip("Keep the newest token in sight. Panning or zooming lets go of it.");
}

}  // namespace

void draw_heatmap_controls(ViewContext& context, HeatmapChoice& choice, Pick& pick) {
    static constexpr const char* kExplained[] = {"Every token (across) and every expert of one layer (down)", "Every layer (down) and its experts (across)",
                                                 "Every token (across) and every layer (down), one number each"};
    int kind = static_cast<int>(choice.kind);
    if (segmented("kind", kKinds, kind, kExplained)) choice.kind = static_cast<PictureKind>(kind);
    const gs::TraceInfo& info = context.what_if.trace().info();
    if (choice.kind == PictureKind::kTokenExpert) {
        same_line_if_fits(layer_stepper_width());
        if (layer_stepper("layer", info, pick.moe_layer)) context.selected.moe_layer = pick.moe_layer;
    }
    quantity_controls(context, choice);
    same_line_if_fits(button_width("Table"));
    table_button(choice.as_table);
    if (ImGui::GetWindowHeight() > ImGui::GetFontSize() * 24) {
        color_controls(context, choice);
    } else {                                               // a low panel keeps its height for the picture (ux.md R8)
        same_line_if_fits(button_width("More"));
        if (ImGui::Button("More###more")) ImGui::OpenPopup("more");
        tooltip("Colour map, range, following the newest token");
        if (ImGui::BeginPopup("more")) {
            color_controls(context, choice);
            ImGui::EndPopup();
        }
    }
    badge_on_line(context, info.provenance);
}

}  // namespace app
