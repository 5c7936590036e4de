#include "tests/app/views_stage.h"

#include <gtest/gtest.h>

#include "app/shell/fonts.h"
#include "imgui_impl_null.h"
#include "implot.h"

namespace app::test {

WindowStage::WindowStage(ImVec2 size, float scale, gs::SessionOptions options) : session(std::move(options)), heatmaps(HeatmapRenderer::without_gpu()), m_size(size) {
    ImGui::CreateContext();
    ImPlot::CreateContext();
    ImGuiIO& io = ImGui::GetIO();
    io.IniFilename = nullptr;
    io.ConfigFlags |= ImGuiConfigFlags_DockingEnable | ImGuiConfigFlags_NavEnableKeyboard;
    if (const auto fonts = load_fonts(); !fonts) ADD_FAILURE() << fonts.error().message();  // texts as wide as in the program
    ImGui_ImplNull_Init();
    appearance = {"dark", scale};
    apply_theme(ThemeKind::kDark, scale);
    ui = std::make_unique<AppUi>(session, *heatmaps, settings);
}

WindowStage::~WindowStage() {
    ui.reset();
    ImGui_ImplNull_Shutdown();
    ImPlot::DestroyContext();
    ImGui::DestroyContext();
}

void WindowStage::frames(int n) {
    for (int i = 0; i < n; ++i) {
        ImGuiIO& io = ImGui::GetIO();
        ImGui_ImplNull_NewFrame();
        io.DisplaySize = m_size;
        io.DeltaTime = 1.0f / 60;
        m_time += 1.0 / 60;
        ImGui::NewFrame();
        const std::shared_ptr<const gs::SessionState> latest = live ? session.latest() : nullptr;
        ThemeKind theme = ThemeKind::kDark;
        parse_theme(appearance.theme, theme);
        ui->draw(latest ? *latest : state, theme_of(theme), appearance, m_time);
        ImGui::Render();
        ImGui_ImplNullRender_RenderDrawData(ImGui::GetDrawData());
    }
}

void WindowStage::play(const InputScript& script) {
    for (const InputEvent& event : script.events()) {
        apply(event);
        frames(1);
    }
    frames(3);
}

ImVec2 WindowStage::find(const char* name, std::initializer_list<const char*> path) {
    const ImGuiWindow* window = ImGui::FindWindowByName(name);
    ImGuiID id = window ? window->ID : 0;
    for (const char* part : path) id = ImHashStr(part, 0, id);
    return find(name, id);
}

ImVec2 WindowStage::find(const char* name, ImGuiID id) {
    const ImGuiWindow* window = ImGui::FindWindowByName(name);
    if (!window) {
        ADD_FAILURE() << "there is no window " << name;
        return {};
    }
    const float step = std::max(6.0f, ImGui::GetFontSize() * 0.4f);
    for (float y = window->Pos.y + step; y < window->Pos.y + window->Size.y; y += step)
        for (float x = window->Pos.x + step; x < window->Pos.x + window->Size.x; x += step) {
            ImGui::GetIO().AddMousePosEvent(x, y);
            frames(1);
            if (GImGui->HoveredId == id) return {x, y};
        }
    ADD_FAILURE() << "no item of that id is in sight in " << name;
    return {};
}

void WindowStage::click_key_of(const char* command) {
    const ImGuiWindow* list = ImGui::FindWindowByName("Keys###keys");
    // Rows of a table hang on its id, not on that of the window it scrolls in.
    const ImGuiID id = ImHashStr("###key", 0, ImHashStr(command, 0, ImHashStr("###list", 0, list ? list->ID : 0)));
    play(InputScript().click(find("Keys###keys", id)));
}

bool WindowStage::is_drawn(const char* name) const {
    const ImGuiWindow* window = ImGui::FindWindowByName(name);
    return window && window->Active && !window->SkipItems && window->DrawList->VtxBuffer.Size > 0;
}

int WindowStage::n_vertices() const { return ImGui::GetDrawData()->TotalVtxCount; }

std::shared_ptr<gs::RunResult> make_run(gs::TraceSnapshot trace, uint64_t id, std::string text) {
    auto run = std::make_shared<gs::RunResult>();
    run->id = id;
    run->trace = std::move(trace);
    run->text = std::move(text);
    run->timings = {.prefill_tokens = 4, .decode_tokens = 10, .prefill_seconds = 0.1, .decode_seconds = 0.5};
    run->bytes_per_token = 6e7;
    return run;
}

std::shared_ptr<gs::ModelCard> make_card(const gs::TraceSnapshot& trace) {
    auto card = std::make_shared<gs::ModelCard>();
    card->spec.name = trace.info().model_name;
    card->spec.router = trace.info().router;
    card->spec.n_layers = trace.info().n_layers;
    card->spec.moe_layers = trace.info().moe_layers;
    card->hash = trace.info().model_hash;
    return card;
}

}  // namespace app::test
