#define IMGUI_DEFINE_MATH_OPERATORS
#include "app/widgets/ui_kit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/utf8.h"

namespace app {

std::string format_number(double value) {
    if (std::isnan(value)) return "–";
    if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
    if (value == 0) return "0";
    const double size = std::fabs(value) * (1 + 5e-4);  // 0.9999 is shown as 1.00, not 1.000
    if (size >= 1e6 || size < 1e-4) return fmt::format("{:.2e}", value);
    if (size >= 100) return fmt::format("{:.0f}", value);
    return fmt::format("{:.{}f}", value, size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4);
}

std::string format_exact(float value) { return std::isnan(value) ? "not a number" : fmt::format("{:.9g}", value); }

std::string format_percent(double share) {
    if (std::isnan(share)) return "–";
    const double percent = 100 * share;
    return fmt::format("{:.{}f} %", percent, percent == 0 || percent >= 99.95 ? 0 : percent < 1 ? 2 : 1);
}

static std::string format_si(double value, const char* const* units, int n_units) {
    int u = 0;
    while (value >= 999.5 && u + 1 < n_units) value /= 1000, ++u;
    const int digits = u == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    return fmt::format("{:.{}f}{}", value, digits, units[u]);
}

std::string format_bytes(double bytes) {
    static const char* const units[] = {" B", " kB", " MB", " GB", " TB"};
    return format_si(bytes, units, 5);
}

std::string format_count(uint64_t n) {
    static const char* const units[] = {"", " k", " M", " B", " T"};
    return format_si(static_cast<double>(n), units, 5);
}

static float text_width(std::string_view text) { return ImGui::CalcTextSize(text.data(), text.data() + text.size()).x; }

std::string fit_text(std::string_view text, float width_px) {
    if (text_width(text) <= width_px) return std::string(text);
    // Characters kept on both sides, found by halving: the width grows with the number kept.
    std::vector<size_t> starts;
    for (size_t i = 0; i < text.size(); ++i)
        if (gs::starts_character(text[i])) starts.push_back(i);
    const auto cut = [&](size_t n_kept) {
        const size_t head = (n_kept + 1) / 2, tail = n_kept / 2;
        std::string s(text.substr(0, head < starts.size() ? starts[head] : text.size()));
        s += "…";
        if (tail > 0) s += text.substr(starts[starts.size() - tail]);
        return s;
    };
    size_t low = 0, high = starts.empty() ? 0 : starts.size() - 1;
    while (low < high) {
        const size_t middle = (low + high + 1) / 2;
        if (text_width(cut(middle)) <= width_px)
            low = middle;
        else
            high = middle - 1;
    }
    return cut(low);
}

ImU32 with_alpha(ImU32 color, float alpha) {
    const auto a = static_cast<ImU32>(std::clamp(alpha, 0.0f, 1.0f) * 255.0f + 0.5f);
    return (color & ~IM_COL32_A_MASK) | (a << IM_COL32_A_SHIFT);
}

void tooltip(const char* text) {
    if (ImGui::IsItemActive() || !ImGui::IsItemHovered(ImGuiHoveredFlags_ForTooltip | ImGuiHoveredFlags_AllowWhenDisabled)) return;
    if (!ImGui::BeginTooltip()) return;
    ImGui::PushTextWrapPos(ImGui::GetFontSize() * 24);
    ImGui::TextUnformatted(text);
    ImGui::PopTextWrapPos();
    ImGui::EndTooltip();
}

bool segmented(const char* id, std::span<const char* const> labels, int& index, std::span<const char* const> tooltips) {
    const ImGuiStyle& style = ImGui::GetStyle();
    bool changed = false;
    ImGui::PushID(id);
    ImGui::BeginGroup();
    ImGui::PushStyleVar(ImGuiStyleVar_ItemSpacing, ImVec2(1, style.ItemSpacing.y));
    for (int i = 0; i < static_cast<int>(labels.size()); ++i) {
        if (i > 0) ImGui::SameLine();
        const bool on = i == index;
        ImGui::PushStyleColor(ImGuiCol_Button, ImGui::GetStyleColorVec4(on ? ImGuiCol_ButtonActive : ImGuiCol_FrameBg));
        if (on) ImGui::PushStyleColor(ImGuiCol_ButtonHovered, ImGui::GetStyleColorVec4(ImGuiCol_ButtonActive));
        ImGui::PushID(i);
        const std::string label = std::string(labels[static_cast<size_t>(i)]) + "###s";
        if (ImGui::Button(label.c_str()) && !on) index = i, changed = true;
        // A second mark beside the colour: the chosen one is underlined.
        if (on) {
            const ImVec2 low = ImGui::GetItemRectMin(), high = ImGui::GetItemRectMax();
            const float inset = style.FramePadding.x * 0.6f, thick = std::max(2.0f, ImGui::GetFontSize() / 8);
            ImGui::GetWindowDrawList()->AddRectFilled({low.x + inset, high.y - thick}, {high.x - inset, high.y},
                                                      ImGui::GetColorU32(ImGuiCol_CheckMark));
        }
        if (static_cast<size_t>(i) < tooltips.size() && tooltips[static_cast<size_t>(i)]) tooltip(tooltips[static_cast<size_t>(i)]);
        ImGui::PopID();
        ImGui::PopStyleColor(on ? 2 : 1);
    }
    ImGui::PopStyleVar();
    ImGui::EndGroup();
    ImGui::PopID();
    return changed;
}

ImVec2 badge_size(const char* text) {
    const ImVec2 size = ImGui::CalcTextSize(text);
    const float pad = ImGui::GetFontSize() * 0.4f;
    return {size.x + 2 * pad, size.y + pad * 0.4f};
}

void badge(const char* text, ImU32 color, ImU32 ink) {
    const ImVec2 size = badge_size(text), at = ImGui::GetCursorScreenPos();
    const float pad = ImGui::GetFontSize() * 0.4f, round = ImGui::GetFontSize() * 0.25f;
    ImDrawList* draw = ImGui::GetWindowDrawList();
    draw->AddRectFilled(at, at + size, with_alpha(color, 0.16f), round);
    draw->AddRect(at, at + size, with_alpha(color, 0.8f), round);
    draw->AddText({at.x + pad, at.y + pad * 0.2f}, ink ? ink : color, text);
    ImGui::Dummy(size);
}

void flow(float width_px) {
    const float right = ImGui::GetWindowPos().x + ImGui::GetWindowWidth() - ImGui::GetStyle().WindowPadding.x;
    if (ImGui::GetItemRectMax().x + ImGui::GetStyle().ItemSpacing.x * 2 + width_px < right)
        ImGui::SameLine(0, ImGui::GetStyle().ItemSpacing.x * 2);
}

void label(const char* text) {
    ImGui::AlignTextToFramePadding();
    dim_text(text);
    ImGui::SameLine(0, ImGui::GetStyle().ItemInnerSpacing.x);
}

float icon_button_width(const char* text) {
    return ImGui::CalcTextSize(text).x + 2 * ImGui::GetStyle().FramePadding.x + ImGui::GetFontSize() * (text[0] ? 1.1f : 0.7f);
}

bool icon_button(const char* id, Icon icon, const char* text, bool prominent) {
    const ImVec2 at = ImGui::GetCursorScreenPos(), size = {icon_button_width(text), ImGui::GetFrameHeight()};
    if (prominent) ImGui::PushStyleColor(ImGuiCol_Button, ImGui::GetStyleColorVec4(ImGuiCol_ButtonActive));
    const bool pressed = ImGui::Button(id, size);
    if (prominent) ImGui::PopStyleColor();
    const float unit = ImGui::GetFontSize(), half = unit * 0.32f, pad = ImGui::GetStyle().FramePadding.x;
    const ImVec2 middle = {at.x + pad + half, at.y + size.y / 2};
    const ImU32 ink = ImGui::GetColorU32(ImGuiCol_Text);
    ImDrawList* draw = ImGui::GetWindowDrawList();
    if (icon == Icon::kStop) {
        draw->AddRectFilled({middle.x - half * 0.85f, middle.y - half * 0.85f}, {middle.x + half * 0.85f, middle.y + half * 0.85f}, ink);
    } else {
        const float right = icon == Icon::kStep ? half * 0.45f : half;
        draw->AddTriangleFilled({middle.x - half * 0.8f, middle.y - half}, {middle.x + right, middle.y},
                                {middle.x - half * 0.8f, middle.y + half}, ink);
        if (icon == Icon::kStep)
            draw->AddRectFilled({middle.x + half * 0.55f, middle.y - half}, {middle.x + half * 0.95f, middle.y + half}, ink);
    }
    draw->AddText({at.x + pad + unit * 1.1f, at.y + (size.y - unit) / 2}, ink, text);
    return pressed;
}

static void centered_lines(const char* text, float width) {
    const float left = ImGui::GetCursorPosX();
    const ImVec2 size = ImGui::CalcTextSize(text, nullptr, false, width);
    ImGui::SetCursorPosX(left + std::max(0.0f, (width - size.x) / 2));
    ImGui::PushTextWrapPos(left + width);
    ImGui::TextUnformatted(text);
    ImGui::PopTextWrapPos();
}

bool empty_state(const char* title, const char* explanation, const char* action) {
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float unit = ImGui::GetFontSize(), width = std::min(room.x, unit * 26);
    const float text_height = ImGui::CalcTextSize(explanation, nullptr, false, width).y;
    const float height = unit * 1.6f + text_height + (action ? unit * 3 : 0);
    ImGui::SetCursorPos({ImGui::GetCursorPosX() + std::max(0.0f, (room.x - width) / 2),
                         ImGui::GetCursorPosY() + std::max(0.0f, (room.y - height) * 0.42f)});
    ImGui::BeginGroup();
    centered_lines(title, width);
    ImGui::PushStyleColor(ImGuiCol_Text, ImGui::GetStyleColorVec4(ImGuiCol_TextDisabled));
    centered_lines(explanation, width);
    ImGui::PopStyleColor();
    bool pressed = false;
    if (action) {
        ImGui::Dummy({0, unit * 0.3f});
        const std::string label = std::string(action) + "###empty_action";
        const float button = ImGui::CalcTextSize(action).x + 2 * ImGui::GetStyle().FramePadding.x;
        ImGui::SetCursorPosX(ImGui::GetCursorPosX() + std::max(0.0f, (width - button) / 2));
        pressed = ImGui::Button(label.c_str());
        tooltip(explanation);
    }
    ImGui::EndGroup();
    return pressed;
}

void dim_text(std::string_view text) {
    ImGui::PushStyleColor(ImGuiCol_Text, ImGui::GetStyleColorVec4(ImGuiCol_TextDisabled));
    ImGui::TextUnformatted(text.data(), text.data() + text.size());
    ImGui::PopStyleColor();
}

void key_value(const char* label, std::string_view value, const char* explanation) {
    const float left = ImGui::GetCursorPosX(), column = ImGui::GetFontSize() * 7.2f;
    dim_text(label);
    if (explanation) tooltip(explanation);
    ImGui::SameLine(0, 0);
    ImGui::SetCursorPosX(left + column);
    ImGui::PushTextWrapPos(0);
    ImGui::TextUnformatted(value.data(), value.data() + value.size());
    ImGui::PopTextWrapPos();
    if (explanation) tooltip(explanation);
}

void heading(const char* text) {
    ImGui::Spacing();
    ImGui::SeparatorText(text);
}

void share_bar(float share, ImU32 color, const char* text, ImVec2 size) {
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImDrawList* draw = ImGui::GetWindowDrawList();
    const float round = ImGui::GetFontSize() * 0.15f;
    draw->AddRectFilled(at, at + size, ImGui::GetColorU32(ImGuiCol_FrameBg), round);
    if (share > 0) draw->AddRectFilled(at, {at.x + std::max(1.0f, size.x * std::min(share, 1.0f)), at.y + size.y}, color, round);
    if (text && *text) {
        const ImVec2 extent = ImGui::CalcTextSize(text);
        draw->AddText({at.x + ImGui::GetFontSize() * 0.3f, at.y + (size.y - extent.y) / 2}, ImGui::GetColorU32(ImGuiCol_Text), text);
    }
    ImGui::Dummy(size);
}

}  // namespace app
