// A row of figures in a table of panels that compare: what the figure is, then one value for each of the things compared.
#pragma once

#include "app/widgets/ui_kit.h"
#include "imgui.h"

namespace app {

/// text(column): the figure of that column as text.
template <class Columns, class Text>
void figure_row(const char* name, const char* explanation, const Columns& columns, Text text) {
    ImGui::TableNextRow();
    ImGui::TableNextColumn();
    dim_text(name);
    tooltip(explanation);
    for (const auto& column : columns) {
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(text(column).c_str());
    }
}

}  // namespace app
