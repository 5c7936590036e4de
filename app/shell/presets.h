// Saved states with a title and one sentence (ux.md R4): those delivered in assets/presets.json, the user's own as files of a folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

struct Preset {
    std::string id;                              ///< "k1-what-breaks"; an own one's file name without extension
    std::string title, sentence, line;           ///< line: a state (state_line.h)
    std::filesystem::path file;                  ///< of an own one; empty for a delivered one
    bool is_own() const { return !file.empty(); }
};

/// The delivered ones. Errors: kInput "bad_presets".
gs::Result<std::vector<Preset>> read_presets(const std::filesystem::path& file);
/// *.json of the folder by title; what cannot be read comes as an error and stays where it is.
std::vector<Preset> read_own_presets(const std::filesystem::path& folder, std::vector<gs::Error>& problems);
/// A new file, named after the title; an own preset of the same title is replaced. Errors: kUsage "no_title", "no_folder"; kRun "cannot_write".
gs::Result<Preset> save_preset(const std::filesystem::path& folder, const std::string& title, const std::string& sentence, const std::string& line);
/// Errors: kRun "cannot_write".
gs::Result<void> delete_preset(const Preset& preset);

}  // namespace app
