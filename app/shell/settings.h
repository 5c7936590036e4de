// The settings file and the window's layout beside it, both in the user's configuration folder. A file that cannot be read is set aside and
// named in a message: settings never keep the program from starting (ux.md R33).
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

class Settings {
public:
    /// Nothing is read or written with an empty folder.
    explicit Settings(std::filesystem::path folder);

    /// The content: always an object. Keys that this version does not know stay as they are.
    nlohmann::json values = nlohmann::json::object();
    /// settings.json, if `values` differ from what it holds. Errors: kRun "cannot_write".
    gs::Result<void> save();

    /// ImGui's layout (layout.ini); empty if there is none.
    const std::string& layout() const { return m_layout; }
    gs::Result<void> save_layout(std::string layout);

    /// What was wrong with the files, for the user: code "settings_broken" with the name the file now has.
    const std::vector<gs::Error>& problems() const { return m_problems; }

    static constexpr int kVersion = 1;

private:
    void load_values();
    void load_layout();
    void set_aside(const std::filesystem::path& file, const std::string& why);

    std::filesystem::path m_folder;
    nlohmann::json m_saved;
    std::string m_layout;
    std::vector<gs::Error> m_problems;
};

}  // namespace app
