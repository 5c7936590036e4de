#include "app/widgets/bars.h"

#include <algorithm>
#include <cmath>

namespace app {
namespace {

struct Frame {
    ImVec2 low, high;
    double top = 1;
    float pitch = 0;                       ///< pixels a slot

    float y(double value) const { return static_cast<float>(high.y - std::clamp(value / top, 0.0, 1.0) * (high.y - low.y)); }
    float x(int slot) const { return low.x + pitch * static_cast<float>(slot); }
    /// Left and right edge of a bar: whole pixels, a gap only where there is room for one.
    std::pair<float, float> edges(int slot) const {
        const float gap = pitch >= 12 ? std::floor(pitch * 0.18f) : pitch >= 4 ? 1.0f : 0.0f;
        const float left = std::floor(x(slot)), right = std::floor(x(slot + 1));
        return {left, std::max(left + 1, right - gap)};
    }
};

/// A value above zero keeps one pixel: idle and nearly idle must look different.
float bar_top(const Frame& frame, float value) { return value > 0 ? std::min(frame.y(value), frame.high.y - 1) : frame.high.y; }

ImU32 color_of(const BarsInput& input, size_t slot) { return input.colors.empty() ? input.color : input.colors[slot]; }

void wide_bars(ImDrawList* draw, const BarsInput& input, const Frame& frame) {
    for (size_t i = 0; i < input.values.size(); ++i) {
        if (!(input.values[i] > 0)) continue;
        const auto [left, right] = frame.edges(static_cast<int>(i));
        draw->AddRectFilled({left, bar_top(frame, input.values[i])}, {right, frame.high.y}, color_of(input, i));
    }
}

void pixel_bars(ImDrawList* draw, const BarsInput& input, const Frame& frame) {
    const int n_px = std::max(1, static_cast<int>(frame.high.x - frame.low.x));
    const size_t n = input.values.size();
    for (int px = 0; px < n_px; ++px) {
        const size_t first = static_cast<size_t>(px) * n / static_cast<size_t>(n_px);
        const size_t last = std::max(first + 1, (static_cast<size_t>(px) + 1) * n / static_cast<size_t>(n_px));
        size_t best = first;
        for (size_t i = first; i < std::min(last, n); ++i) {
            if (input.values[i] > input.values[best] || std::isnan(input.values[best])) best = i;
        }
        if (!(input.values[best] > 0)) continue;
        const float left = frame.low.x + static_cast<float>(px);
        draw->AddRectFilled({left, bar_top(frame, input.values[best])}, {left + 1, frame.high.y}, color_of(input, best));
    }
}

void ghost_bars(ImDrawList* draw, const BarsInput& input, const Frame& frame) {
    for (size_t i = 0; i < std::min(input.ghosts.size(), input.values.size()); ++i) {
        if (!(input.ghosts[i] > 0)) continue;
        const auto [left, right] = frame.edges(static_cast<int>(i));
        draw->AddRect({left, frame.y(input.ghosts[i])}, {right, frame.high.y}, input.ghost_color);
    }
}

void dashed_line(ImDrawList* draw, ImVec2 from, ImVec2 to, ImU32 color, float dash, float thickness) {
    const float length = std::hypot(to.x - from.x, to.y - from.y);
    if (length <= 0) return;
    const ImVec2 step = {(to.x - from.x) / length, (to.y - from.y) / length};
    for (float at = 0; at < length; at += 2 * dash) {
        const float end = std::min(at + dash, length);
        draw->AddLine({from.x + step.x * at, from.y + step.y * at}, {from.x + step.x * end, from.y + step.y * end}, color, thickness);
    }
}

void outline_slot(ImDrawList* draw, const Frame& frame, int slot, int n, ImU32 color, float thickness) {
    if (slot < 0 || slot >= n) return;
    if (frame.pitch < 5) {                                 // a box would hide the bar: a hair line with a cap on top
        const float x = std::floor(frame.x(slot) + frame.pitch / 2), cap = 3 * thickness;
        draw->AddLine({x + 0.5f, frame.low.y}, {x + 0.5f, frame.high.y}, color);
        draw->AddTriangleFilled({x + 0.5f - cap, frame.low.y}, {x + 0.5f + cap, frame.low.y}, {x + 0.5f, frame.low.y + cap}, color);
        return;
    }
    const float left = std::floor(frame.x(slot)) - 1, right = std::max(left + 3, std::floor(frame.x(slot + 1)) + 1);
    draw->AddRect({std::max(left, frame.low.x - 1), frame.low.y}, {std::min(right, frame.high.x + 1), frame.high.y}, color, 0, thickness);
}

}  // namespace

int slot_at(float x, float low_x, float high_x, int n_slots) {
    if (n_slots <= 0 || x < low_x || x >= high_x) return -1;
    return std::min(n_slots - 1, static_cast<int>((x - low_x) / (high_x - low_x) * static_cast<float>(n_slots)));
}

void draw_bars(ImDrawList* draw, const BarsInput& input, ImVec2 low_px, ImVec2 high_px) {
    const int n = static_cast<int>(input.values.size());
    Frame frame{low_px, high_px, input.high > 0 ? input.high : 1, 0};
    if (n == 0 || high_px.x <= low_px.x || high_px.y <= low_px.y) return;
    frame.pitch = (high_px.x - low_px.x) / static_cast<float>(n);
    const float thick = std::max(1.0f, std::round(ImGui::GetFontSize() / 11));
    if (frame.pitch >= 1) wide_bars(draw, input, frame);
    else pixel_bars(draw, input, frame);
    if (input.band_high > input.band_low) {                // over the bars, or full ones would hide it
        draw->AddRectFilled({low_px.x, frame.y(input.band_high)}, {high_px.x, std::max(frame.y(input.band_low), frame.y(input.band_high) + 1)}, input.band_color);
    }
    if (!input.ghosts.empty()) ghost_bars(draw, input, frame);
    draw->AddLine({low_px.x, high_px.y}, {high_px.x, high_px.y}, input.line_color);
    if (!std::isnan(input.line)) {
        const float y = frame.y(input.line);
        dashed_line(draw, {low_px.x, y}, {high_px.x, y}, input.line_color, 4 * thick, thick);
    }
    if (input.cut >= 0 && input.cut <= n) {
        const float x = std::clamp(std::round(frame.x(input.cut)), low_px.x + 1, high_px.x - 1);
        draw->AddLine({x, low_px.y}, {x, high_px.y}, input.cut_color, thick * 1.5f);
    }
    outline_slot(draw, frame, input.hovered, n, input.hover_color, thick);
    outline_slot(draw, frame, input.selected, n, input.selection_color, thick * 1.5f);
}

BarsHit bars(const char* id, const BarsInput& input, ImVec2 size) {
    const ImVec2 low = ImGui::GetCursorScreenPos(), high = {low.x + size.x, low.y + size.y};
    BarsHit hit;
    hit.clicked = ImGui::InvisibleButton(id, {std::max(1.0f, size.x), std::max(1.0f, size.y)});
    hit.hovered = ImGui::IsItemHovered();
    hit.context_menu = hit.hovered && ImGui::IsMouseClicked(ImGuiMouseButton_Right);
    hit.slot = hit.hovered || hit.clicked ? slot_at(ImGui::GetIO().MousePos.x, low.x, high.x, static_cast<int>(input.values.size())) : -1;
    draw_bars(ImGui::GetWindowDrawList(), input, low, high);
    return hit;
}

}  // namespace app
