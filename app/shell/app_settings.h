// What the settings file keeps of the panels: read leniently (a wrong type or range keeps the default), written whole.
#pragma once

#include <array>
#include <nlohmann/json.hpp>

#include "app/shell/app_ui.h"

namespace app {

/// The words of settings and state lines, in the order of the enums.
inline constexpr std::array kQuantityNames = {"preference", "selection_score", "applied_weight"};
inline constexpr std::array kTokenColorNames = {"top_expert", "router_entropy", "margin", "surprise"};
inline constexpr std::array kPhaseNames = {"both", "prefill", "decode"};
inline constexpr std::array kLayoutNames = {"explore", "teach", "tune"};

/// How Dear ImGui's settings of where panels stand begin.
inline constexpr const char* kDockingSection = "[Docking][Data]";

void read_settings(const nlohmann::json& values, ViewSettings& settings, Appearance& appearance);
void write_settings(nlohmann::json& values, const ViewSettings& settings, const Appearance& appearance);

/// Layouts and open panels. Files of before layouts were left as they are have those of the one in force only. No panels, and false, when what was
/// saved is of other panels than this version's.
bool read_layout(const nlohmann::json& values, LayoutState& state);
void write_layout(nlohmann::json& values, const LayoutState& state);

}  // namespace app
