#include "app/widgets/table_view.h"

#include <algorithm>

#include <fmt/format.h>

#include "app/widgets/ui_kit.h"

namespace app {

static constexpr int kMostColumns = 512;

static std::string csv_field(std::string text) {
    if (text.find_first_of(",\"\n") == std::string::npos) return text;
    for (size_t i = 0; (i = text.find('"', i)) != std::string::npos; i += 2) text.insert(i, 1, '"');
    return '"' + text + '"';
}

std::string table_csv(const TableInput& input) {
    std::string csv;
    for (int c = 0; c < input.n_columns; ++c) csv += (c ? "," : "") + csv_field(input.title(c));
    csv += '\n';
    for (int r = 0; r < input.n_rows; ++r) {
        for (int c = 0; c < input.n_columns; ++c) csv += (c ? "," : "") + csv_field(input.text(r, c));
        csv += '\n';
    }
    return csv;
}

int table_view(const char* id, const TableInput& input, ImVec2 size) {
    int clicked = -1;
    ImGui::PushID(id);
    if (ImGui::Button("Copy as CSV###copy_table")) ImGui::SetClipboardText(table_csv(input).c_str());
    tooltip("The whole table, to paste into a spreadsheet");
    const int n_columns = std::min(input.n_columns, kMostColumns);
    if (n_columns < input.n_columns) {
        ImGui::SameLine();
        dim_text(fmt::format("The first {} of {} columns; the copy has all", n_columns, input.n_columns));
    }
    size.y = std::max(ImGui::GetFontSize() * 4, size.y - ImGui::GetFrameHeightWithSpacing());
    constexpr ImGuiTableFlags kFlags = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_RowBg | ImGuiTableFlags_ScrollX | ImGuiTableFlags_ScrollY |
                                       ImGuiTableFlags_SizingFixedFit | ImGuiTableFlags_BordersInnerV;
    if (n_columns > 0 && ImGui::BeginTable("###figures", n_columns, kFlags, size)) {
        ImGui::TableSetupScrollFreeze(1, 1);
        for (int c = 0; c < n_columns; ++c) ImGui::TableSetupColumn(input.title(c).c_str(), 0, 0, static_cast<ImGuiID>(c));
        ImGui::TableHeadersRow();
        ImGuiListClipper clipper;
        clipper.Begin(input.n_rows);
        while (clipper.Step())
            for (int r = clipper.DisplayStart; r < clipper.DisplayEnd; ++r) {
                ImGui::TableNextRow();
                for (int c = 0; c < n_columns; ++c) {
                    if (!ImGui::TableSetColumnIndex(c)) continue;   // scrolled out of sight
                    const std::string text = input.text(r, c);
                    if (c > 0) {
                        ImGui::TextUnformatted(text.c_str());
                        continue;
                    }
                    ImGui::PushID(r);
                    if (ImGui::Selectable("###row", r == input.selected, ImGuiSelectableFlags_SpanAllColumns | ImGuiSelectableFlags_AllowOverlap)) clicked = r;
                    ImGui::PopID();
                    ImGui::SameLine(0, 0);
                    ImGui::TextUnformatted(text.c_str());
                }
            }
        ImGui::EndTable();
    }
    ImGui::PopID();
    return clicked;
}

void table_headers(std::span<const char* const> notes) {
    ImGui::TableNextRow(ImGuiTableRowFlags_Headers);
    for (int c = 0; c < ImGui::TableGetColumnCount(); ++c) {
        if (!ImGui::TableSetColumnIndex(c)) continue;
        ImGui::PushID(c);
        ImGui::TableHeader(ImGui::TableGetColumnName(c));
        if (static_cast<size_t>(c) < notes.size() && notes[static_cast<size_t>(c)]) tooltip(notes[static_cast<size_t>(c)]);
        ImGui::PopID();
    }
}

bool table_button(bool& as_table) {
    const bool pressed = ImGui::Button(as_table ? "Chart###as_table" : "Table###as_table");
    if (pressed) as_table = !as_table;
    tooltip(as_table ? "Back to the picture" : "The same figures as a table: exact values, by keyboard, to copy");
    return pressed;
}

}  // namespace app
