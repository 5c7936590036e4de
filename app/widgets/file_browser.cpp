#include "app/widgets/file_browser.h"

#include <algorithm>
#include <system_error>

#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"
#include "imgui.h"
#include "imgui_stdlib.h"

namespace fs = std::filesystem;

namespace app {

FileBrowser::FileBrowser(const FileRequest& request) : m_request(request) {
    std::error_code ignored;
    fs::path folder = request.start;
    if (!fs::is_directory(folder, ignored)) {
        if (request.mode == FileMode::kSave) m_name = folder.filename().string();
        folder = folder.parent_path();
    }
    if (!fs::is_directory(folder, ignored)) folder = fs::current_path(ignored);
    enter(fs::absolute(folder, ignored).lexically_normal());
}

void FileBrowser::enter(const fs::path& folder) {
    std::error_code error;
    std::vector<Entry> entries;
    fs::directory_iterator it(folder, fs::directory_options::skip_permission_denied, error);
    if (error) {
        m_problem = "Cannot open this folder: " + error.message();
        return;
    }
    for (; it != fs::directory_iterator(); it.increment(error)) {
        if (error || entries.size() >= 20'000) break;
        const std::string name = it->path().filename().string();
        if (name.starts_with('.')) continue;
        std::error_code ignored;
        const bool is_folder = it->is_directory(ignored);
        if (!is_folder && !m_all_files && !m_request.extensions.empty()) {
            const std::string extension = it->path().extension().string();
            if (std::find(m_request.extensions.begin(), m_request.extensions.end(), extension) == m_request.extensions.end()) continue;
        }
        const uintmax_t size = is_folder ? 0 : it->file_size(ignored);
        entries.push_back({name, visible_name(name) + (is_folder ? "/" : ""),
                           is_folder || ignored ? "" : format_bytes(static_cast<double>(size)), is_folder});
    }
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.is_folder != b.is_folder ? a.is_folder : a.name < b.name; });
    m_folder = folder;
    m_path_text = folder.string();
    m_entries = std::move(entries);
    m_problem.clear();
}

void FileBrowser::draw_path() {
    if (ImGui::Button("Up###up")) enter(m_folder.parent_path());
    ImGui::SameLine();
    if (ImGui::Button("Home###home"))
        if (const char* home = std::getenv("HOME")) enter(home);
    ImGui::SameLine();
    ImGui::SetNextItemWidth(-1);
    if (ImGui::InputText("###path", &m_path_text, ImGuiInputTextFlags_EnterReturnsTrue)) {
        std::error_code ignored;
        if (fs::is_directory(m_path_text, ignored))
            enter(m_path_text);
        else
            m_problem = "There is no such folder";
    }
}

bool FileBrowser::draw_list(std::optional<fs::path>& chosen) {
    const float below = ImGui::GetFrameHeightWithSpacing() * 2 + ImGui::GetTextLineHeightWithSpacing() + ImGui::GetStyle().ItemSpacing.y;
    const ImGuiTableFlags flags = ImGuiTableFlags_ScrollY | ImGuiTableFlags_RowBg | ImGuiTableFlags_BordersOuter;
    if (!ImGui::BeginTable("###files", 2, flags, {0, std::max(ImGui::GetFontSize() * 4, ImGui::GetContentRegionAvail().y - below)}))
        return false;
    ImGui::TableSetupColumn("Name", ImGuiTableColumnFlags_WidthStretch);
    ImGui::TableSetupColumn("Size", ImGuiTableColumnFlags_WidthFixed, ImGui::GetFontSize() * 5);
    std::optional<fs::path> next;
    bool picked = false;
    ImGuiListClipper clip;
    clip.Begin(static_cast<int>(m_entries.size()));
    while (clip.Step())
        for (int i = clip.DisplayStart; i < clip.DisplayEnd; ++i) {
            const Entry& entry = m_entries[static_cast<size_t>(i)];
            ImGui::PushID(i);
            ImGui::TableNextRow();
            ImGui::TableNextColumn();
            const bool clicked = ImGui::Selectable("###entry", entry.name == m_name,
                                                   ImGuiSelectableFlags_SpanAllColumns | ImGuiSelectableFlags_AllowDoubleClick);
            ImGui::SameLine(0, 0);
            ImGui::TextUnformatted(entry.shown.c_str());
            if (clicked && entry.is_folder) next = m_folder / entry.name;
            if (clicked && !entry.is_folder) {
                m_name = entry.name;
                picked = ImGui::IsMouseDoubleClicked(ImGuiMouseButton_Left);
            }
            ImGui::TableNextColumn();
            dim_text(entry.size);
            ImGui::PopID();
        }
    ImGui::EndTable();
    if (next) enter(*next);
    return picked && confirm(chosen);
}

bool FileBrowser::confirm(std::optional<fs::path>& chosen) {
    const fs::path file = m_folder / m_name;
    std::error_code ignored;
    if (m_name.empty() || fs::is_directory(file, ignored)) {
        m_problem = "Choose a file";
        return false;
    }
    if (m_request.mode == FileMode::kOpen && !fs::exists(file, ignored)) {
        m_problem = "There is no such file";
        return false;
    }
    if (m_request.mode == FileMode::kSave && fs::exists(file, ignored) &&
        m_problem != "It exists already. Press Save again to replace it") {
        m_problem = "It exists already. Press Save again to replace it";
        return false;
    }
    chosen = file;
    return true;
}

bool FileBrowser::draw(std::optional<fs::path>& chosen) {
    const std::string title = m_request.title + "###file_browser";
    if (!m_opened) ImGui::OpenPopup("###file_browser");
    m_opened = true;
    const float unit = ImGui::GetFontSize();
    const ImVec2 screen = ImGui::GetMainViewport()->WorkSize;
    ImGui::SetNextWindowSize({std::min(unit * 44, screen.x * 0.92f), std::min(unit * 30, screen.y * 0.92f)}, ImGuiCond_Appearing);
    ImGui::SetNextWindowPos(ImGui::GetMainViewport()->GetCenter(), ImGuiCond_Appearing, {0.5f, 0.5f});
    bool open = true;
    if (!ImGui::BeginPopupModal(title.c_str(), &open, ImGuiWindowFlags_NoSavedSettings)) return false;
    draw_path();
    bool done = draw_list(chosen);
    ImGui::SetNextItemWidth(-1);
    const bool entered = ImGui::InputTextWithHint("###name", "file name", &m_name, ImGuiInputTextFlags_EnterReturnsTrue);
    if (m_problem.empty())
        dim_text(m_all_files ? "all files" : "files of the expected kinds");
    else
        ImGui::TextUnformatted(m_problem.c_str());
    const bool save = m_request.mode == FileMode::kSave;
    if (ImGui::Button(save ? "Save###ok" : "Open###ok") || entered) done = done || confirm(chosen);
    ImGui::SameLine();
    if (ImGui::Button("Cancel###cancel") || ImGui::Shortcut(ImGuiKey_Escape)) open = false;
    ImGui::SameLine();
    if (ImGui::Checkbox("All files###all", &m_all_files)) enter(m_folder);
    if (done || !open) ImGui::CloseCurrentPopup();
    ImGui::EndPopup();
    return open && !done;
}

}  // namespace app
