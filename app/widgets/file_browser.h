// The built-in file dialog: works with no desktop, no portal, over a remote display.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/widgets/file_dialog.h"

namespace app {

class FileBrowser {
public:
    explicit FileBrowser(const FileRequest& request);
    /// A modal window; false when it was closed. chosen is set when a file was picked.
    bool draw(std::optional<std::filesystem::path>& chosen);

private:
    struct Entry {
        std::string name, shown, size;
        bool is_folder;
    };
    void enter(const std::filesystem::path& folder);
    void draw_path();
    bool draw_list(std::optional<std::filesystem::path>& chosen);
    bool confirm(std::optional<std::filesystem::path>& chosen);

    FileRequest m_request;
    std::filesystem::path m_folder;
    std::vector<Entry> m_entries;
    std::string m_path_text, m_name, m_problem;
    bool m_opened = false, m_all_files = false;
};

}  // namespace app
