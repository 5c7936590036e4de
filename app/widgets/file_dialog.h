// Choosing a file: the desktop's own dialog (zenity or kdialog in a process of its own, never waited for), else a small browser in the
// window.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace app {

enum class FileMode : uint8_t { kOpen, kSave };

struct FileRequest {
    FileMode mode = FileMode::kOpen;
    std::string title;
    std::vector<std::string> extensions;  ///< with the dot: ".gguf"
    std::filesystem::path start;          ///< folder, or for kSave the proposed file
};

class FileDialog {
public:
    FileDialog();
    ~FileDialog();
    /// native: try zenity or kdialog first.
    void open(FileRequest request, bool native);
    bool is_open() const;
    /// Every frame; the path once, when one was chosen.
    std::optional<std::filesystem::path> draw();

private:
    struct Native;
    struct Browser;
    std::unique_ptr<Native> m_native;
    std::unique_ptr<Browser> m_browser;
};

}  // namespace app
