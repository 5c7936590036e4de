#include "app/views/text_saver.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace fs = std::filesystem;

namespace app {

void TextSaver::ask(std::string text, const std::string& proposed) {
    if (m_dialog.is_open()) return;
    m_text = std::move(text);
    fs::path folder = m_last_folder;
    if (const char* home = std::getenv("HOME"); folder.empty() && home) folder = home;
    m_dialog.open({FileMode::kSave, "Save " + proposed, {fs::path(proposed).extension().string()}, folder / proposed}, true);
}

void TextSaver::draw(ViewContext& context) {
    if (!m_dialog.is_open()) return;
    context.keep_awake(0.2);                               // a dialog of the desktop is polled
    const auto path = m_dialog.draw();
    if (!path) return;
    m_last_folder = path->parent_path();
    errno = 0;
    std::ofstream out(*path, std::ios::binary);
    out << m_text;
    out.close();
    if (out)
        context.session.notify({.is_error = false, .error = {gs::ErrorKind::kInput, "saved", "Saved " + path->filename().string(), path->string(), ""}});
    else
        context.session.notify({.error = {gs::ErrorKind::kInput, "cannot_write", "Cannot write " + path->filename().string(), errno ? std::strerror(errno) : "the file could not be written",
                                          "Choose another folder"}});
}

}  // namespace app
