#include "app/widgets/value_axis.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace app {
namespace {

constexpr double kSteps[] = {1, 2, 2.5, 5, 10};

/// Smallest round step at or above `raw`.
double round_step(double raw) {
    const double unit = std::pow(10.0, std::floor(std::log10(raw)));
    for (double factor : kSteps) {
        if (factor * unit >= raw * (1 - 1e-9)) return factor * unit;
    }
    return 10 * unit;
}

/// {:g} drops trailing zeros and the noise of 3 · 0.1.
std::string tick_label(double value, bool percent) { return percent ? fmt::format("{:.4g} %", 100 * value) : fmt::format("{:.4g}", value); }

int ticks_that_fit(float height_px) { return std::clamp(static_cast<int>(height_px / (ImGui::GetFontSize() * 1.6f)) + 1, 2, 6); }

}  // namespace

std::vector<AxisTick> axis_ticks(double high, int n_max, bool percent) {
    std::vector<AxisTick> ticks;
    if (!(high > 0) || !std::isfinite(high)) return {{0, tick_label(0, percent)}};
    const double step = round_step(high / std::max(1, n_max - 1));
    for (int i = 0; i * step <= high * (1 + 1e-9); ++i) ticks.push_back({i * step, tick_label(i * step, percent)});
    return ticks;
}

double round_up_axis(double high) {
    if (!(high > 0) || !std::isfinite(high)) return 1;
    const double unit = std::pow(10.0, std::floor(std::log10(high)));
    for (double factor : {1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0}) {
        if (factor * unit >= high * (1 - 1e-9)) return factor * unit;
    }
    return 10 * unit;
}

float ValueAxis::y_of(double value) const {
    const double share = high > 0 ? std::clamp(value / high, 0.0, 1.0) : 0;
    return static_cast<float>(high_px.y - share * (high_px.y - low_px.y));
}

float value_axis_width(double high, float height_px, bool percent) {
    float width = 0;
    for (const AxisTick& tick : axis_ticks(high, ticks_that_fit(height_px), percent)) width = std::max(width, ImGui::CalcTextSize(tick.label.c_str()).x);
    return width + ImGui::GetFontSize() * 0.5f;
}

void draw_value_axis(ImDrawList* draw, const ValueAxis& axis) {
    const float gap = ImGui::GetFontSize() * 0.3f, line = ImGui::GetFontSize();
    for (const AxisTick& tick : axis_ticks(axis.high, ticks_that_fit(axis.high_px.y - axis.low_px.y), axis.percent)) {
        const float y = std::round(axis.y_of(tick.value));
        draw->AddLine({axis.low_px.x, y}, {axis.high_px.x, y}, axis.grid);
        const ImVec2 size = ImGui::CalcTextSize(tick.label.c_str());
        draw->AddText({axis.low_px.x - gap - size.x, y - line / 2}, axis.text, tick.label.c_str());
    }
}

void draw_slot_labels(ImDrawList* draw, const ValueAxis& axis, int n_slots, const std::function<std::string(int)>& label) {
    if (n_slots <= 0) return;
    const float pitch = (axis.high_px.x - axis.low_px.x) / static_cast<float>(n_slots), gap = ImGui::GetFontSize() * 0.5f;
    float widest = 0;
    for (int slot = 0; slot < n_slots; slot += std::max(1, n_slots / 16)) widest = std::max(widest, ImGui::CalcTextSize(label(slot).c_str()).x);
    int step = 1;
    for (const int next : {1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 256, 512}) {
        step = next;
        if (pitch * static_cast<float>(next) >= widest + gap) break;
    }
    for (int slot = 0; slot < n_slots; slot += step) {
        const std::string text = label(slot);
        const float center = axis.low_px.x + pitch * (static_cast<float>(slot) + 0.5f), width = ImGui::CalcTextSize(text.c_str()).x;
        draw->AddText({center - width / 2, axis.high_px.y + ImGui::GetFontSize() * 0.15f}, axis.text, text.c_str());
    }
}

}  // namespace app
