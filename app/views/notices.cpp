#include <fmt/format.h>

#include <algorithm>

#include "app/views/overlays.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr const char *kRestart = "Restart the engine###restart", *kCopy = "Copy details###copy", *kDismiss = "Dismiss###dismiss";

/// Fewer where the window is low: the panels need the room more.
size_t most_shown() { return ImGui::GetMainViewport()->Size.y > ImGui::GetFontSize() * 42 ? 3 : 1; }

std::string details_of(const gs::Error& e) {
    return fmt::format("Gatescope\n{}\nwhy: {}\nwhat to do: {}\ncode: {}\n", e.what, e.why, e.remedy.empty() ? "–" : e.remedy, e.code);
}

/// Mark, text in two tones, buttons at the right end.
void draw_notice(ViewContext& context, const gs::Notice& notice) {
    const Theme& theme = context.theme;
    const ImGuiStyle& style = ImGui::GetStyle();
    const float unit = ImGui::GetFontSize();
    const ImU32 color = notice.is_error ? theme.error : theme.accent;
    ImGui::PushID(fmt::format("notice{}", notice.id).c_str());
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::GetWindowDrawList()->AddRectFilled(at, {at.x + unit * 0.25f, at.y + ImGui::GetFrameHeight()}, color);
    ImGui::SetCursorPosX(ImGui::GetCursorPosX() + unit * 0.7f);
    ImGui::AlignTextToFramePadding();
    // A failed engine starts again from the notice that tells of it.
    const bool restarts = notice.is_error && notice.error.kind == gs::ErrorKind::kDevice && context.state.engine_failed;
    const auto button_width = [&](const char* label) { return ImGui::CalcTextSize(label, nullptr, true).x + 2 * style.FramePadding.x + style.ItemSpacing.x; };
    const float buttons = button_width(kCopy) + button_width(kDismiss) + style.ItemSpacing.x + (restarts ? button_width(kRestart) : 0);
    const float room = ImGui::GetContentRegionAvail().x - buttons;
    const std::string what = fit_text(visible_name(notice.error.what), room);
    ImGui::PushStyleColor(ImGuiCol_Text, notice.is_error ? theme.error : theme.text);
    ImGui::TextUnformatted(what.c_str());
    ImGui::PopStyleColor();
    const float left = room - ImGui::GetItemRectSize().x - style.ItemSpacing.x;
    std::string rest = visible_name(notice.error.why);
    if (!notice.error.remedy.empty()) rest += (rest.empty() ? "" : ". ") + visible_name(notice.error.remedy);
    if (left > unit * 4 && !rest.empty()) {
        ImGui::SameLine();
        dim_text(fit_text(rest, left));
    }
    tooltip(fmt::format("{}\n\n{}", visible_name(notice.error.what), rest).c_str());
    ImGui::SameLine();
    ImGui::SetCursorPosX(ImGui::GetCursorPosX() + std::max(0.0f, ImGui::GetContentRegionAvail().x - buttons + 2 * style.ItemSpacing.x));
    if (restarts && ImGui::Button(kRestart)) context.session.restart_engine();
    if (restarts) ImGui::SameLine();
    if (ImGui::Button(kCopy)) ImGui::SetClipboardText(details_of(notice.error).c_str());
    ImGui::SameLine();
    if (ImGui::Button(kDismiss)) context.session.dismiss_notice(notice.id);
    ImGui::PopID();
}

}  // namespace

float notices_height(const gs::SessionState& state) {
    const size_t n = std::min(state.notices.size(), most_shown());
    if (n == 0) return 0;
    const float more = state.notices.size() > most_shown() ? ImGui::GetTextLineHeightWithSpacing() : 0;
    return static_cast<float>(n) * ImGui::GetFrameHeightWithSpacing() + more + ImGui::GetStyle().WindowPadding.y;
}

void draw_notices(ViewContext& context) {
    const auto& notices = context.state.notices;
    for (size_t i = 0; i < std::min(notices.size(), most_shown()); ++i)
        draw_notice(context, notices[notices.size() - 1 - i]);  // newest first
    if (notices.size() > most_shown())
        dim_text(fmt::format("and {} older: they show up as the newer ones are dismissed", notices.size() - most_shown()));
}

}  // namespace app
