#include "app/views/sampler_popup.h"

#include <fmt/format.h>

#include "app/widgets/ui_kit.h"

namespace app {

static void sampling_controls(gs::SamplerSettings& s) {
    bool greedy = s.is_greedy();
    if (ImGui::Checkbox("Greedy: always the most probable token###greedy", &greedy))
        s.temperature = greedy ? 0.0f : gs::SamplerSettings{}.temperature;
    ImGui::BeginDisabled(greedy);
    float temperature = greedy ? 1.0f : s.temperature;
    if (ImGui::SliderFloat("temperature###temperature", &temperature, 0.05f, 2, "%.2f", ImGuiSliderFlags_AlwaysClamp) && !greedy)
        s.temperature = temperature;
    ImGui::SliderInt("top-k tokens###top_k", &s.top_k, 0, 200, s.top_k == 0 ? "off" : "%d", ImGuiSliderFlags_AlwaysClamp);
    tooltip("Only this many of the most probable next tokens. Not the router's k");
    ImGui::SliderFloat("top-p###top_p", &s.top_p, 0.05f, 1, s.top_p >= 1 ? "off" : "%.2f", ImGuiSliderFlags_AlwaysClamp);
    ImGui::SliderFloat("min-p###min_p", &s.min_p, 0, 0.5f, s.min_p <= 0 ? "off" : "%.2f", ImGuiSliderFlags_AlwaysClamp);
    ImGui::EndDisabled();
    ImGui::SliderFloat("repeat penalty###repeat", &s.repeat_penalty, 1, 2, s.repeat_penalty <= 1 ? "off" : "%.2f",
                       ImGuiSliderFlags_AlwaysClamp);
    ImGui::InputScalar("seed###seed", ImGuiDataType_U64, &s.seed);
    tooltip("The same seed and settings give the same text");
}

void sampler_controls(ViewContext& context) {
    ImGui::PushItemWidth(ImGui::GetFontSize() * 12);
    heading("Output");
    ImGui::SliderInt("new tokens###length", &context.settings.max_new_tokens, 1, 1024, "%d",
                     ImGuiSliderFlags_Logarithmic | ImGuiSliderFlags_AlwaysClamp);
    heading("Sampling");
    sampling_controls(context.settings.sampler);
    ImGui::PopItemWidth();
    if (ImGui::Button("Defaults###defaults")) context.settings.sampler = gs::SamplerSettings{};
}

}  // namespace app
