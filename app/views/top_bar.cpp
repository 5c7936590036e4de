#define IMGUI_DEFINE_MATH_OPERATORS
// The bar that is always in sight: model · prompt · Run / Step · k · gate rule · weights · temperature · what it cost.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/views/policy_edit.h"
#include "app/views/routing_bar.h"
#include "app/views/sampler_popup.h"
#include "app/views/views_b.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

/// Even less room: no model button, Run and Step as marks only.
bool is_tiny() { return ImGui::GetMainViewport()->Size.x < ImGui::GetFontSize() * 32; }

const char* run_label(const gs::SessionState& state) {
    if (is_tiny()) return "";
    if (!state.run || state.run->phase == gs::RunPhase::kFinished) return "Run";
    return state.run->phase == gs::RunPhase::kPaused ? "Continue" : "Stop";
}

bool is_live(const gs::SessionState& state) { return state.run && state.run->phase != gs::RunPhase::kFinished; }

class TopBar final : public View {
public:
    void draw(ViewContext& context) override {
        if (!is_tiny()) draw_model(context);
        draw_prompt(context);
        m_routing.draw(context);
    }

private:
    void draw_model(ViewContext& context);
    void draw_prompt(ViewContext& context);
    void draw_run_buttons(ViewContext& context);
    void draw_more(ViewContext& context);

    RoutingBar m_routing;
};

void model_card(const gs::ModelCard& m) {
    if (!ImGui::BeginTooltip()) return;
    ImGui::TextUnformatted(visible_name(m.spec.name).c_str());
    ImGui::Dummy({ImGui::GetFontSize() * 22, 1});
    key_value("family", m.spec.family);
    key_value("file", fmt::format("{} ({})", visible_name(std::filesystem::path(m.path).filename().string()),
                                  format_bytes(static_cast<double>(m.file_bytes))));
    key_value("parameters", fmt::format("{}, {} active per token", format_count(m.total_params), format_count(m.active_params)));
    if (m.spec.is_moe())
        key_value("experts", fmt::format("{} per layer, {} used, {} of {} layers", m.spec.router.n_experts, m.spec.router.n_used,
                                         m.spec.moe_layers.size(), m.spec.n_layers));
    else
        key_value("experts", "none: a dense model, every token uses all weights");
    key_value("context", fmt::format("{} tokens", m.n_ctx));
    key_value("prompt format", m.chat_format);
    for (const std::string& warning : m.warnings) dim_text(visible_name(warning));
    ImGui::EndTooltip();
}

void TopBar::draw_model(ViewContext& context) {
    const gs::SessionState& state = context.state;
    std::string name = "no model";
    if (state.model)
        name = visible_name(state.model->spec.name);
    else if (context.run && !context.run->trace.empty())
        name = visible_name(context.run->trace.info().model_name);
    const float unit = ImGui::GetFontSize();
    const std::string shown = fit_text(name, std::min(unit * 13, ImGui::GetContentRegionAvail().x * 0.25f));
    if (ImGui::Button((shown + "###model").c_str())) context.wants_open_file = true;
    if (state.model && ImGui::IsItemHovered(ImGuiHoveredFlags_ForTooltip))
        model_card(*state.model);
    else
        tooltip("Open a model (.gguf) or a recorded run (.safetensors)");
    ImGui::SameLine();
}

/// Run, Step, the mode and More, as wide as they will be.
float run_buttons_width(const gs::SessionState& state, bool compact) {
    const ImGuiStyle& style = ImGui::GetStyle();
    const auto button = [&](const char* text) { return ImGui::CalcTextSize(text).x + 2 * style.FramePadding.x; };
    const float run = icon_button_width(run_label(state)) + style.ItemSpacing.x + icon_button_width(is_tiny() ? "" : "Step") +
                      style.ItemSpacing.x + button("More");
    return compact ? run : run + style.ItemSpacing.x + button("Chat") + 1 + button("Raw");
}

void TopBar::draw_prompt(ViewContext& context) {
    const ImGuiStyle& style = ImGui::GetStyle();
    const float unit = ImGui::GetFontSize();
    const float buttons = run_buttons_width(context.state, is_compact()) + style.ItemSpacing.x;
    const float room = ImGui::GetContentRegionAvail().x;
    const bool own_line = room - buttons < unit * 8;
    const float width = std::max(unit * 6, own_line ? room : room - buttons);
    const float wrapped =
        ImGui::CalcTextSize(context.settings.prompt.c_str(), nullptr, false, std::max(unit, width - 3 * style.FramePadding.x)).y;
    const int n_lines = std::clamp(static_cast<int>(std::round(wrapped / unit)), 1, 4);
    const ImVec2 size = {width, n_lines * unit + 2 * style.FramePadding.y};
    const ImGuiInputTextFlags flags =
        ImGuiInputTextFlags_EnterReturnsTrue | ImGuiInputTextFlags_CtrlEnterForNewLine | ImGuiInputTextFlags_WordWrap;
    const bool entered = ImGui::InputTextMultiline("###prompt_text", &context.settings.prompt, size, flags);
    if (!ImGui::IsItemActive()) tooltip("The prompt. Enter runs it, Ctrl+Enter begins a new line");
    if (context.settings.prompt.empty() && !ImGui::IsItemActive())
        ImGui::GetWindowDrawList()->AddText(ImGui::GetItemRectMin() + style.FramePadding, context.theme.text_dim,
                                            "Ask something, then press Enter");
    if (entered && context.state.can_run()) {
        context.what_if.set_policy(std::nullopt);
        context.session.run(make_request(context));
    }
    if (!own_line) ImGui::SameLine();
    draw_run_buttons(context);
}

void mode_buttons(ViewContext& context) {
    static const char* const modes[] = {"Chat", "Raw"};
    static const char* const notes[] = {"The prompt is a question: the model's chat template is put around it",
                                        "The model continues the prompt as it is"};
    int mode = context.settings.chat ? 0 : 1;
    if (segmented("mode", modes, mode, notes)) context.settings.chat = mode == 0;
}

void TopBar::draw_run_buttons(ViewContext& context) {
    const gs::SessionState& state = context.state;
    const bool paused = state.run && state.run->phase == gs::RunPhase::kPaused;
    const bool running = is_live(state) && !paused;
    const char* wait = state.activity == gs::Activity::kLoadingModel ? "The model is still loading"
                                                                     : "Needs a model: the picture on screen is a recorded run";
    ImGui::BeginDisabled(!state.can_run() && !running);
    if (icon_button("###run", running ? Icon::kStop : Icon::kPlay, run_label(state), true)) {
        context.what_if.set_policy(std::nullopt);
        if (running)
            context.session.stop();
        else if (paused)
            context.session.resume();
        else
            context.session.run(make_request(context));
    }
    tooltip(!state.can_run() ? wait : running ? "Stop the run (Space)" : "Run the prompt (Enter in the prompt, or Space)");
    ImGui::SameLine();
    ImGui::BeginDisabled(running);
    if (icon_button("###step", Icon::kStep, is_tiny() ? "" : "Step", false)) context.session.step(make_request(context));
    tooltip(!state.can_run() ? wait : "One token ( . )");
    ImGui::EndDisabled();
    ImGui::EndDisabled();
    ImGui::SameLine();
    if (!is_compact()) {
        mode_buttons(context);
        ImGui::SameLine();
    }
    if (ImGui::Button("More###more")) ImGui::OpenPopup("###more_popup");
    tooltip(is_bar_short(context) ? "Length and sampling, and how the experts' weights are made" : "Length and sampling");
    draw_more(context);
}

void TopBar::draw_more(ViewContext& context) {
    ImGui::SetNextWindowSizeConstraints({0, 0}, {ImGui::GetMainViewport()->WorkSize.x, ImGui::GetMainViewport()->Size.y * 0.9f});
    if (!ImGui::BeginPopup("###more_popup")) return;
    if (is_compact()) mode_buttons(context);
    if (is_bar_short(context) && router_on_screen(context.state).n_experts > 0) {
        heading("Routing");
        m_routing.draw_weights(context);
        m_routing.draw_sum(context);
        m_routing.draw_temperature(context);
    }
    sampler_controls(context);
    ImGui::EndPopup();
}

}  // namespace

std::unique_ptr<View> make_prompt_view() { return std::make_unique<TopBar>(); }

}  // namespace app
