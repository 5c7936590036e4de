#include "app/shell/settings.h"

#include "app/shell/file_io.h"

namespace fs = std::filesystem;

namespace app {

Settings::Settings(fs::path folder) : m_folder(std::move(folder)) {
    if (!m_folder.empty()) {
        load_values();
        load_layout();
    }
    values["version"] = kVersion;
}

void Settings::set_aside(const fs::path& file, const std::string& why) {
    const fs::path aside = file.string() + ".broken";
    std::error_code error;
    fs::rename(file, aside, error);
    m_problems.push_back(
        {gs::ErrorKind::kInput, "settings_broken", "Cannot use " + file.string(), why,
         error ? "It stays where it is; the defaults are used" : "It is now " + aside.filename().string() + "; the defaults are used"});
}

void Settings::load_values() {
    const fs::path file = m_folder / "settings.json";
    std::error_code ignored;
    if (!fs::exists(file, ignored)) return;
    auto text = read_file(file);
    if (!text) return set_aside(file, text.error().why);
    nlohmann::json read = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (read.is_discarded()) return set_aside(file, "it is not JSON");
    if (!read.is_object()) return set_aside(file, "it is not a JSON object");
    // A file of a newer version is kept as it is and read as far as it goes.
    values = m_saved = std::move(read);
}

void Settings::load_layout() {
    const fs::path file = m_folder / "layout.ini";
    std::error_code ignored;
    if (!fs::exists(file, ignored)) return;
    auto text = read_file(file);
    if (!text) return set_aside(file, text.error().why);
    if (text->find('\0') != std::string::npos || (!text->empty() && text->find("\n[") == std::string::npos && text->front() != '['))
        return set_aside(file, "it is not a layout");
    m_layout = std::move(*text);
}

gs::Result<void> Settings::save() {
    if (m_folder.empty() || values == m_saved) return {};
    // Replaced rather than refused: a prompt may hold bytes that are not UTF-8.
    GS_TRY_VOID(
        write_file_atomically(m_folder / "settings.json", values.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
    m_saved = values;
    return {};
}

gs::Result<void> Settings::save_layout(std::string layout) {
    if (m_folder.empty() || layout == m_layout) return {};
    GS_TRY_VOID(write_file_atomically(m_folder / "layout.ini", layout));
    m_layout = std::move(layout);
    return {};
}

}  // namespace app
