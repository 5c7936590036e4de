#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "app/views/overlays.h"
#include "app/widgets/ui_kit.h"

namespace app {

bool begin_overlay(const char* title, bool& open, float width) {
    const ImGuiViewport* screen = ImGui::GetMainViewport();
    ImGui::SetNextWindowPos(screen->GetCenter(), ImGuiCond_Appearing, {0.5f, 0.5f});
    ImGui::SetNextWindowSizeConstraints({0, 0}, {screen->WorkSize.x, screen->WorkSize.y});
    ImGui::SetNextWindowSize({std::min(width, screen->WorkSize.x * 0.95f), 0}, ImGuiCond_Appearing);
    return ImGui::Begin(title, &open, ImGuiWindowFlags_NoDocking | ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoCollapse);
}

namespace {

void scale_row(Appearance& wanted) {
    label("size");
    int index = 0;
    for (int i = 0; i < static_cast<int>(std::size(kScales)); ++i)
        if (wanted.scale + 0.01f >= kScales[i]) index = i;
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 8);
    if (ImGui::BeginCombo("###scale", fmt::format("{:.0f} %", 100 * wanted.scale).c_str())) {
        for (int i = 0; i < static_cast<int>(std::size(kScales)); ++i)
            if (ImGui::Selectable(fmt::format("{:.0f} %###s{}", 100 * kScales[i], i).c_str(), i == index)) wanted.scale = kScales[i];
        ImGui::EndCombo();
    } else {
        tooltip("Size of everything: type, buttons, spaces");
    }
}

}  // namespace

std::optional<Appearance> draw_settings(ViewContext& context, const Appearance& now, bool& open) {
    if (!open) return std::nullopt;
    Appearance wanted = now;
    if (begin_overlay("Settings###settings", open, ImGui::GetFontSize() * 26)) {
        heading("Appearance");
        static const char *const themes[] = {"Dark", "Light", "High contrast"}, *const names[] = {"dark", "light", "contrast"};
        static const char* const notes[] = {"Quiet surfaces: the data is the brightest thing", "For projectors and bright rooms", "Black and white with strong edges"};
        int theme = now.theme == "light" ? 1 : now.theme == "contrast" ? 2 : 0;
        label("theme");
        if (segmented("theme", themes, theme, notes)) wanted.theme = names[theme];
        scale_row(wanted);
        heading("Colours");
        label("colour map");
        const char* const maps[] = {name_of(ColorMap::kCividis), name_of(ColorMap::kViridis), name_of(ColorMap::kGreys)};
        int map = std::clamp(static_cast<int>(context.settings.map), 0, 2);
        static const char* const map_notes[] = {"Even in lightness; nearly the same with red-green deficiency", "Even in lightness, more hues", "Lightness alone: for print"};
        if (segmented("map", maps, map, map_notes)) context.settings.map = static_cast<ColorMap>(map);
        ImGui::Checkbox("Fit the colour range to the data###auto_range", &context.settings.auto_range);
        tooltip("Off: shares and weights keep the scale 0 to 1, so that runs can be compared");
    }
    ImGui::End();
    if (wanted.theme == now.theme && wanted.scale == now.scale) return std::nullopt;
    return wanted;
}

void draw_about(bool& open) {
    if (!open) return;
    if (begin_overlay("About Gatescope###about", open, ImGui::GetFontSize() * 32)) {
        ImGui::TextWrapped(
            "Gatescope shows how a Mixture-of-Experts language model routes: which experts each token wanted, which it got, and what "
            "changes when you "
            "change the rule.");
        heading("Numbers");
        ImGui::TextWrapped(
            "computed: by the model, in this run.  what-if: recorded router logits under another policy; hidden states are not computed "
            "again.  "
            "replayed: read from a file.");
        heading("Limits of the text");
        ImGui::TextWrapped(
            "Scripts that join or run from right to left are drawn letter by letter, from left to right. The exact bytes are in the "
            "inspector. "
            "For a screen reader use the command line: gatescope run --json.");
        heading("Built with");
        ImGui::TextWrapped(
            "Dear ImGui and ImPlot (MIT), GLFW (zlib), Vulkan loader (Apache-2.0), fmt, nlohmann/json, CLI11, PCRE2, Highway, xxHash, zlib. "
            "Licences: README.md.");
    }
    ImGui::End();
}

}  // namespace app
