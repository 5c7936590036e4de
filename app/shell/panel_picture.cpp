#include "app/shell/panel_picture.h"

#include <algorithm>

#include "app/shell/app_ui.h"
#include "app/shell/shell.h"
#include "imgui.h"
#include "implot.h"

namespace app {
namespace {

constexpr int kSettleFrames = 12;          ///< a panel finds its sizes over some frames

/// Room for contexts of another shell; the window's come back when it goes.
class OtherContexts {
public:
    OtherContexts() : m_imgui(ImGui::GetCurrentContext()), m_plot(ImPlot::GetCurrentContext()) {
        ImGui::SetCurrentContext(nullptr);
        ImPlot::SetCurrentContext(nullptr);
    }
    ~OtherContexts() {
        ImGui::SetCurrentContext(m_imgui);
        ImPlot::SetCurrentContext(m_plot);
    }
    OtherContexts(const OtherContexts&) = delete;
    OtherContexts& operator=(const OtherContexts&) = delete;

private:
    ImGuiContext* m_imgui;
    ImPlotContext* m_plot;
};

}  // namespace

gs::Result<void> save_panel_picture(const PanelPicture& picture, gs::Session& session, const ViewSettings& settings) {
    const OtherContexts others;
    ThemeKind theme = ThemeKind::kDark;
    parse_theme(picture.theme, theme);
    GS_TRY(std::unique_ptr<Shell> shell, Shell::create({.headless = true, .width = picture.width_px, .height = picture.height_px,
                                                        .scale = std::clamp(picture.scale, 0.75f, 3.0f), .theme = theme, .interop = false}));
    ViewSettings own = settings;
    AppUi ui(session, shell->heatmaps(), own);
    ui.show_only(picture.view);
    const auto draw = [&](FrameInfo& info) {
        ui.selected() = picture.pick;
        ui.draw(*session.latest(), theme_of(theme), {picture.theme, info.scale}, info.time_seconds);
    };
    GS_TRY_VOID(shell->run_frames(kSettleFrames, draw));
    return shell->screenshot(picture.path);
}

}  // namespace app
