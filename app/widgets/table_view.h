// A chart's figures as a table: for the keyboard, for reading exact values, for copying (ux.md R38). Only what is in sight is formatted, so that
// a table of ten million cells costs no more than a small one.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "imgui.h"

namespace app {

struct TableInput {
    int n_rows = 0, n_columns = 0;
    std::function<std::string(int column)> title;
    std::function<std::string(int row, int column)> text;    ///< column 0 names the row
    int selected = -1;                                       ///< row
};

/// Row that was clicked, -1 if none. Beyond 512 columns (ImGui's limit) the rest is left out here and said so; the copy has all of them.
int table_view(const char* id, const TableInput& input, ImVec2 size);
std::string table_csv(const TableInput& input);

/// ImGui::TableHeadersRow with a tooltip for each column; null: none.
void table_headers(std::span<const char* const> notes);

/// "Table" / "Chart": turns the one into the other. True when it was pressed.
bool table_button(bool& as_table);

}  // namespace app
