// What the settings file keeps of the panels: read leniently (a wrong type or range keeps the default), written whole.
#pragma once

#include <nlohmann/json.hpp>

#include "app/shell/app_ui.h"

namespace app {

void read_settings(const nlohmann::json& values, ViewSettings& settings, Appearance& appearance);
void write_settings(nlohmann::json& values, const ViewSettings& settings, const Appearance& appearance);

/// Panels that the user closed, and whether the saved layout is of this version.
std::vector<std::string> read_hidden_views(const nlohmann::json& values);
bool layout_is_current(const nlohmann::json& values);
void write_layout_state(nlohmann::json& values, const std::vector<std::string>& hidden_views);

}  // namespace app
