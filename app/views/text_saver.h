// Saving a text that a panel makes, CSV, JSON or a policy, to a file that the user chooses.
#pragma once

#include <filesystem>
#include <string>

#include "app/views/view.h"
#include "app/widgets/file_dialog.h"

namespace app {

class TextSaver {
public:
    /// proposed: file name with its extension.
    void ask(std::string text, const std::string& proposed);
    /// Every frame: the dialog while it is open; writes, and says so or why not in a notice.
    void draw(ViewContext& context);

private:
    std::string m_text;
    std::filesystem::path m_last_folder;
    FileDialog m_dialog;
};

}  // namespace app
