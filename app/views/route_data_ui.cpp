#include "app/views/route_data_ui.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "app/views/pick_card.h"
#include "app/widgets/stepper.h"
#include "app/widgets/ui_kit.h"

namespace app {

bool draw_if_no_routes(ViewContext& context, const gs::TraceSnapshot& trace) {
    if (trace.n_moe_layers() > 0 && trace.n_experts() > 0 && !trace.empty()) return false;
    const bool dense = trace.n_moe_layers() == 0 && (!trace.empty() || !trace.info().model_name.empty());
    const bool pressed = dense ? empty_state("A dense model", "This model has no router: every token goes through the same weights. Open a Mixture-of-Experts model to see routing.",
                                             "Open a model or a recorded run…")
                               : empty_state("No tokens yet", "Routing appears here as soon as a prompt runs: type one and press Run, or open a recorded run.",
                                             "Open a model or a recorded run…");
    if (pressed) context.wants_open_file = true;
    return true;
}

bool draw_if_no_logits(const gs::TraceSnapshot& trace) {
    if (trace.has_logits()) return false;
    empty_state("No router logits", "This recorded run holds the experts that were chosen, but not the router's logits: what other rules would choose cannot be known from it.", nullptr);
    return true;
}

void same_line_if_fits(float width_px) {
    const float right = ImGui::GetCursorScreenPos().x + ImGui::GetContentRegionAvail().x;
    const float next = ImGui::GetItemRectMax().x + ImGui::GetStyle().ItemSpacing.x + width_px;
    if (next <= right) ImGui::SameLine();
}

float button_width(const char* text) { return ImGui::CalcTextSize(text).x + 2 * ImGui::GetStyle().FramePadding.x; }

void caption(std::string_view text) {
    std::string kept(text);                                // "25.0 %" stays on one line: a no-break space before the sign
    for (size_t at = 0; (at = kept.find(" %", at)) != std::string::npos; ++at) kept.replace(at, 1, "\u00a0");
    ImGui::PushTextWrapPos(0);
    dim_text(kept);
    ImGui::PopTextWrapPos();
}

void caption_on_line(std::string_view text) {
    const ImVec2 size = ImGui::CalcTextSize(text.data(), text.data() + text.size());
    const float right = ImGui::GetCursorScreenPos().x + ImGui::GetContentRegionAvail().x;
    if (ImGui::GetItemRectMax().x + ImGui::GetStyle().ItemSpacing.x + size.x > right) {
        caption(text);
        return;
    }
    ImGui::SameLine();
    ImGui::AlignTextToFramePadding();
    dim_text(text);
}

void badge_on_line(const ViewContext& context, gs::Provenance provenance) {
    if (provenance == gs::Provenance::kComputed) return;
    const ImVec2 size = badge_size(gs::name_of(provenance));
    same_line_if_fits(size.x);
    // In a group of the tool bar's height, so that the next line starts below the tool bar and not below the badge.
    ImGui::BeginGroup();
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::SetCursorScreenPos({at.x, at.y + std::floor((ImGui::GetFrameHeight() - size.y) / 2)});
    provenance_badge(context, provenance);
    ImGui::SetCursorScreenPos(at);
    ImGui::Dummy({size.x, ImGui::GetFrameHeight()});
    ImGui::EndGroup();
}

static constexpr const char* kWidestLayer = "layer 888 of 888";

float layer_stepper_width() { return stepper_width(kWidestLayer); }

bool layer_stepper(const char* id, const gs::TraceInfo& info, int& moe_layer) {
    const std::string now = fmt::format("layer {} of {}", info.moe_layers[static_cast<size_t>(moe_layer)], info.n_layers);
    return stepper(id, {now, kWidestLayer, "Previous MoE layer", "Next MoE layer"}, info.n_moe_layers(), moe_layer);
}

float name_combo_width(std::span<const char* const> names) {
    float width = 0;
    for (const char* name : names) width = std::max(width, ImGui::CalcTextSize(name).x);
    return width + 2 * ImGui::GetStyle().FramePadding.x + ImGui::GetFrameHeight();
}

bool name_combo(const char* id, std::span<const char* const> names, int& index, const char* explanation) {
    bool changed = false;
    ImGui::SetNextItemWidth(name_combo_width(names));
    const bool open = ImGui::BeginCombo(id, names[static_cast<size_t>(index)]);
    if (!open) tooltip(explanation);
    if (!open) return false;
    for (int i = 0; i < static_cast<int>(names.size()); ++i) {
        if (ImGui::Selectable(names[static_cast<size_t>(i)], i == index)) {
            changed = i != index;
            index = i;
        }
        if (i == index) ImGui::SetItemDefaultFocus();
    }
    ImGui::EndCombo();
    return changed;
}

static constexpr const char* kLengths[] = {"128 tokens", "256 tokens", "512 tokens", "1024 tokens", "2048 tokens"};
static constexpr int kLengthValues[] = {128, 256, 512, 1024, 2048};

float text_length_combo_width() { return name_combo_width(kLengths); }

bool text_length_combo(const char* id, int& max_tokens, const char* explanation) {
    const auto above = std::upper_bound(std::begin(kLengthValues), std::end(kLengthValues), max_tokens);
    int index = std::max(0, static_cast<int>(above - std::begin(kLengthValues)) - 1);
    const bool changed = name_combo(id, kLengths, index, explanation);
    if (changed) max_tokens = kLengthValues[index];
    return changed;
}

static constexpr const char* kPhases[] = {"both", "prefill", "decode"};

float phase_buttons_width() {
    float width = 0;
    for (const char* name : kPhases) width += button_width(name) + 1;
    return width;
}

void phase_buttons(ViewContext& context) {
    static constexpr const char* kExplained[] = {"Tokens of the prompt and generated ones", "Only the prompt's tokens", "Only generated tokens"};
    int index = static_cast<int>(context.settings.phase);
    if (segmented("phase", kPhases, index, kExplained)) context.settings.phase = static_cast<gs::PhaseFilter>(index);
}

}  // namespace app
