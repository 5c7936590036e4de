#include "app/shell/theme.h"

#include "app/views/view.h"
#include "imgui.h"
#include "implot.h"

namespace app {

// Quiet surfaces in three steps, one accent (teal: in none of the colour maps), so that the data is the brightest thing in the window.
static constexpr Palette kDarkPalette{
    .window = 0x0d1117, .panel = 0x141a22, .popup = 0x1b222d, .frame = 0x1f2834, .frame_hovered = 0x293444, .frame_active = 0x334156,
    .border = 0x2b3543, .row_alternate = 0x18202a,
    .text = 0xe3e8f0, .text_dim = 0x98a4b5, .accent = 0x4cc2c4, .accent_text = 0x0d1117, .button = 0x26344a, .button_hovered = 0x324764,
    .button_active = 0x3d5a80, .header = 0x223147, .header_hovered = 0x2c4160, .header_active = 0x375278,
    .grab = 0x2c6d73, .grab_active = 0x36838a, .focus = 0xffc857, .tab_hovered = 0x2c4160,
    .warning = 0xf2b84b, .error = 0xff7b72, .ok = 0x6fcf8a, .grid = 0x303b4a, .selection = 0xff5fa2, .hover = 0xffffff, .what_if = 0xb79cff,
    .track = 0x263140};

static constexpr Palette kLightPalette{
    .window = 0xe9edf2, .panel = 0xfbfcfd, .popup = 0xffffff, .frame = 0xe8ecf1, .frame_hovered = 0xdbe2ea, .frame_active = 0xcbd6e2,
    .border = 0xc5ced9, .row_alternate = 0xf3f5f8,
    .text = 0x17202b, .text_dim = 0x556172, .accent = 0x0b6e75, .accent_text = 0xffffff, .button = 0xd9e4ef, .button_hovered = 0xc5d7e8,
    .button_active = 0xabc6df, .header = 0xdce7f2, .header_hovered = 0xcbdcec, .header_active = 0xb6cfe5,
    .grab = 0x8fbfc4, .grab_active = 0x6aabb1, .focus = 0xb35900, .tab_hovered = 0xcbdcec,
    .warning = 0x8a5300, .error = 0xb3261e, .ok = 0x1b7038, .grid = 0xd5dce5, .selection = 0xb8005c, .hover = 0x17202b, .what_if = 0x6a3fc4,
    .track = 0xdde4ec};

// Black, white and three signal colours; every edge of a control is drawn, so that nothing is told by a shade of grey.
static constexpr Palette kContrastPalette{
    .window = 0x000000, .panel = 0x000000, .popup = 0x000000, .frame = 0x000000, .frame_hovered = 0x202020, .frame_active = 0x303030,
    .border = 0xb8b8b8, .row_alternate = 0x141414,
    .text = 0xffffff, .text_dim = 0xd8d8d8, .accent = 0x00e5ff, .accent_text = 0x000000, .button = 0x000000, .button_hovered = 0x202020,
    .button_active = 0x003f47, .header = 0x10282c, .header_hovered = 0x1d3c42, .header_active = 0x003f47,
    .grab = 0x00707d, .grab_active = 0x00707d, .focus = 0xffff00, .tab_hovered = 0x202020,
    .warning = 0xffd23f, .error = 0xff8f85, .ok = 0x7dff9b, .grid = 0x484848, .selection = 0xff7ac0, .hover = 0xffffff, .what_if = 0xd3bfff,
    .track = 0x262626};

const char* name_of(ThemeKind kind) { return kind == ThemeKind::kDark ? "dark" : kind == ThemeKind::kLight ? "light" : "contrast"; }

bool parse_theme(const std::string& name, ThemeKind& kind) {
    for (ThemeKind known : kThemes) {
        if (name != name_of(known)) continue;
        kind = known;
        return true;
    }
    return false;
}

const Palette& palette(ThemeKind kind) {
    return kind == ThemeKind::kDark ? kDarkPalette : kind == ThemeKind::kLight ? kLightPalette : kContrastPalette;
}

static ImU32 packed(uint32_t rgb) { return IM_COL32(rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255, 255); }
static ImVec4 color(uint32_t rgb, float alpha = 1) {
    ImVec4 c = ImGui::ColorConvertU32ToFloat4(packed(rgb));
    c.w = alpha;
    return c;
}

const Theme& theme_of(ThemeKind kind) {
    static const auto make = [](ThemeKind of) {
        const Palette& p = palette(of);
        Theme theme{};
        theme.dark = of != ThemeKind::kLight;
        theme.text = packed(p.text);
        theme.text_dim = packed(p.text_dim);
        theme.accent = packed(p.accent);
        theme.warning = packed(p.warning);
        theme.error = packed(p.error);
        theme.ok = packed(p.ok);
        theme.grid = packed(p.grid);
        theme.selection = packed(p.selection);
        theme.hover = packed(p.hover);
        theme.what_if = packed(p.what_if);
        theme.track = packed(p.track);
        return theme;
    };
    static const Theme themes[] = {make(ThemeKind::kDark), make(ThemeKind::kLight), make(ThemeKind::kContrast)};
    return themes[static_cast<size_t>(kind)];
}

static void set_sizes(ImGuiStyle& s) {
    s.FontSizeBase = 16;                                        // ux.md R30
    s.WindowPadding = {12, 10};
    s.FramePadding = {9, 5};
    s.ItemSpacing = {9, 7};
    s.ItemInnerSpacing = {7, 5};
    s.CellPadding = {8, 4};
    s.WindowRounding = 0;
    s.ChildRounding = s.PopupRounding = 6;
    s.FrameRounding = s.GrabRounding = 5;
    s.TabRounding = 5;
    s.ScrollbarSize = 12;
    s.ScrollbarRounding = 6;
    s.GrabMinSize = 14;
    s.WindowBorderSize = s.PopupBorderSize = 1;
    s.TabBarOverlineSize = 2;
    s.TabBarBorderSize = 1;
    s.DockingSeparatorSize = 3;
    s.SeparatorTextBorderSize = 1;
    s.WindowMenuButtonPosition = ImGuiDir_None;
    s.DisabledAlpha = 0.5f;
}

static void set_surface_colors(ImVec4* c, const Palette& p) {
    c[ImGuiCol_Text] = color(p.text);
    c[ImGuiCol_TextDisabled] = color(p.text_dim);
    c[ImGuiCol_WindowBg] = color(p.panel);
    c[ImGuiCol_ChildBg] = color(p.panel, 0);
    c[ImGuiCol_PopupBg] = color(p.popup, 0.98f);
    c[ImGuiCol_Border] = color(p.border);
    c[ImGuiCol_BorderShadow] = color(p.border, 0);
    c[ImGuiCol_TitleBg] = c[ImGuiCol_TitleBgActive] = c[ImGuiCol_TitleBgCollapsed] = color(p.window);
    c[ImGuiCol_MenuBarBg] = c[ImGuiCol_DockingEmptyBg] = color(p.window);
    c[ImGuiCol_ScrollbarBg] = color(p.panel, 0);
    c[ImGuiCol_ScrollbarGrab] = color(p.frame_active);
    c[ImGuiCol_ScrollbarGrabHovered] = color(p.text_dim, 0.7f);
    c[ImGuiCol_ScrollbarGrabActive] = color(p.text_dim);
    c[ImGuiCol_Separator] = color(p.border);
    c[ImGuiCol_SeparatorHovered] = c[ImGuiCol_SeparatorActive] = color(p.accent);
    c[ImGuiCol_TableHeaderBg] = color(p.frame);
    c[ImGuiCol_TableBorderStrong] = color(p.border);
    c[ImGuiCol_TableBorderLight] = color(p.border, 0.6f);
    c[ImGuiCol_TableRowBg] = color(p.panel, 0);
    c[ImGuiCol_TableRowBgAlt] = color(p.row_alternate);
    c[ImGuiCol_Tab] = c[ImGuiCol_TabDimmed] = color(p.window);
    c[ImGuiCol_TabSelected] = c[ImGuiCol_TabDimmedSelected] = color(p.panel);
    c[ImGuiCol_TabHovered] = color(p.tab_hovered);
    c[ImGuiCol_TabSelectedOverline] = color(p.accent);
    c[ImGuiCol_TabDimmedSelectedOverline] = color(p.border);
    c[ImGuiCol_ModalWindowDimBg] = c[ImGuiCol_NavWindowingDimBg] = color(0x000000, 0.45f);
    c[ImGuiCol_TreeLines] = color(p.border);
}

static void set_control_colors(ImVec4* c, const Palette& p) {
    c[ImGuiCol_FrameBg] = color(p.frame);
    c[ImGuiCol_FrameBgHovered] = color(p.frame_hovered);
    c[ImGuiCol_FrameBgActive] = color(p.frame_active);
    c[ImGuiCol_Button] = color(p.button);
    c[ImGuiCol_ButtonHovered] = color(p.button_hovered);
    c[ImGuiCol_ButtonActive] = color(p.button_active);
    c[ImGuiCol_Header] = color(p.header);
    c[ImGuiCol_HeaderHovered] = color(p.header_hovered);
    c[ImGuiCol_HeaderActive] = color(p.header_active);
    c[ImGuiCol_CheckMark] = c[ImGuiCol_TextLink] = c[ImGuiCol_InputTextCursor] = color(p.accent);
    c[ImGuiCol_CheckboxSelectedBg] = color(p.frame);
    c[ImGuiCol_SliderGrab] = color(p.grab);
    c[ImGuiCol_SliderGrabActive] = color(p.grab_active);
    c[ImGuiCol_ResizeGrip] = color(p.border, 0);
    c[ImGuiCol_ResizeGripHovered] = c[ImGuiCol_ResizeGripActive] = color(p.accent, 0.6f);
    c[ImGuiCol_TextSelectedBg] = color(p.accent, 0.35f);
    c[ImGuiCol_DockingPreview] = c[ImGuiCol_DragDropTarget] = color(p.accent, 0.6f);
    c[ImGuiCol_DragDropTargetBg] = color(p.accent, 0.12f);
    c[ImGuiCol_UnsavedMarker] = color(p.warning);
    c[ImGuiCol_PlotLines] = c[ImGuiCol_PlotHistogram] = color(p.accent);
    c[ImGuiCol_PlotLinesHovered] = c[ImGuiCol_PlotHistogramHovered] = color(p.selection);
    c[ImGuiCol_NavCursor] = c[ImGuiCol_NavWindowingHighlight] = color(p.focus);
}

static void set_plot_style(const Palette& p, bool dark, float scale) {
    ImPlotStyle s;
    if (dark) ImPlot::StyleColorsDark(&s);
    else ImPlot::StyleColorsLight(&s);
    s.Colors[ImPlotCol_FrameBg] = color(p.panel, 0);
    s.Colors[ImPlotCol_PlotBg] = color(p.panel, 0);
    s.Colors[ImPlotCol_PlotBorder] = color(p.border);
    s.Colors[ImPlotCol_LegendBg] = s.Colors[ImPlotCol_LegendBorder] = color(p.popup, 0.85f);
    s.Colors[ImPlotCol_LegendText] = s.Colors[ImPlotCol_TitleText] = s.Colors[ImPlotCol_InlayText] = color(p.text);
    s.Colors[ImPlotCol_AxisText] = color(p.text_dim);
    s.Colors[ImPlotCol_AxisGrid] = s.Colors[ImPlotCol_AxisTick] = color(p.grid);
    s.Colors[ImPlotCol_Crosshairs] = color(p.accent);
    s.PlotBorderSize = 0;
    s.PlotPadding = {8 * scale, 8 * scale};
    s.LabelPadding = {5 * scale, 5 * scale};
    s.LegendPadding = {8 * scale, 8 * scale};
    s.MajorTickLen = {6 * scale, 6 * scale};
    s.MinorTickLen = {3 * scale, 3 * scale};
    s.PlotDefaultSize = {400 * scale, 260 * scale};
    s.PlotMinSize = {80 * scale, 60 * scale};
    ImPlot::GetStyle() = s;
}

void apply_theme(ThemeKind kind, float scale) {
    const Palette& p = palette(kind);
    ImGuiStyle style;                                           // fresh: scaling must not pile up
    const bool dark = kind != ThemeKind::kLight;
    if (dark) ImGui::StyleColorsDark(&style);
    else ImGui::StyleColorsLight(&style);
    set_sizes(style);
    if (kind == ThemeKind::kContrast) style.FrameBorderSize = style.TabBorderSize = style.TabBarBorderSize = 1;
    set_surface_colors(style.Colors, p);
    set_control_colors(style.Colors, p);
    style.ScaleAllSizes(scale);
    style.FontScaleDpi = scale;
    style.FontScaleMain = ImGui::GetStyle().FontScaleMain;      // a layout's own size of type
    ImGui::GetStyle() = style;
    if (ImPlot::GetCurrentContext()) set_plot_style(p, dark, scale);
}

}  // namespace app
