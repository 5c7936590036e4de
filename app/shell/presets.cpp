#include "app/shell/presets.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>

#include "app/shell/file_io.h"
#include "app/shell/state_line.h"

namespace fs = std::filesystem;

namespace app {
namespace {

using Json = nlohmann::json;
constexpr size_t kLongestTitle = 80, kLongestSentence = 400;

gs::Error bad_presets(const fs::path& file, const std::string& why) {
    return {gs::ErrorKind::kInput, "bad_presets", "Presets of " + file.filename().string() + " are left out", why, "Mend or remove " + file.string()};
}

gs::Result<std::string> text_of(const Json& object, const char* key, size_t longest, const fs::path& file) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    if (!object.is_object() || found == object.end() || !found->is_string()) return bad_presets(file, fmt::format("\"{}\" is missing", key));
    const std::string text = found->get<std::string>();
    if (text.empty() || text.size() > longest) return bad_presets(file, fmt::format("\"{}\" is empty or longer than {} bytes", key, longest));
    return text;
}

gs::Result<Preset> read_one(const Json& object, const fs::path& file) {
    Preset preset;
    GS_TRY(preset.title, text_of(object, "title", kLongestTitle, file));
    GS_TRY(preset.sentence, text_of(object, "sentence", kLongestSentence, file));
    GS_TRY(preset.line, text_of(object, "state", 4u << 20, file));
    if (const auto state = parse_state_line(preset.line); !state) return bad_presets(file, state.error().why);
    return preset;
}

gs::Result<Json> read_json(const fs::path& file) {
    GS_TRY(const std::string text, read_file(file));
    Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) return bad_presets(file, "it is not JSON");
    return json;
}

/// Letters and digits; all else becomes one "-".
std::string file_name_of(const std::string& title) {
    std::string name;
    for (const char c : title) {
        if (std::isalnum(static_cast<unsigned char>(c))) name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        else if (!name.empty() && name.back() != '-') name += '-';
    }
    while (!name.empty() && name.back() == '-') name.pop_back();
    return name.empty() ? "preset" : name;
}

}  // namespace

gs::Result<std::vector<Preset>> read_presets(const fs::path& file) {
    GS_TRY(const Json json, read_json(file));
    if (!json.is_array()) return bad_presets(file, "it is not a list");
    std::vector<Preset> presets;
    for (const Json& object : json) {
        GS_TRY(Preset preset, read_one(object, file));
        GS_TRY(preset.id, text_of(object, "id", kLongestTitle, file));
        presets.push_back(std::move(preset));
    }
    return presets;
}

std::vector<Preset> read_own_presets(const fs::path& folder, std::vector<gs::Error>& problems) {
    std::vector<Preset> presets;
    std::error_code ignored;
    if (folder.empty()) return presets;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
        if (entry.path().extension() != ".json") continue;
        const auto json = read_json(entry.path());
        auto preset = json ? read_one(*json, entry.path()) : gs::Result<Preset>(json.error());
        if (!preset) {
            problems.push_back(preset.error());
            continue;
        }
        preset->id = entry.path().stem().string();
        preset->file = entry.path();
        presets.push_back(std::move(*preset));
    }
    std::sort(presets.begin(), presets.end(), [](const Preset& a, const Preset& b) { return std::tie(a.title, a.id) < std::tie(b.title, b.id); });
    return presets;
}

gs::Result<Preset> save_preset(const fs::path& folder, const std::string& title, const std::string& sentence, const std::string& line) {
    if (title.empty() || title.size() > kLongestTitle)
        return gs::Error{gs::ErrorKind::kUsage, "no_title", "The preset is not saved", fmt::format("a title has 1 to {} letters", kLongestTitle), "Give it a title"};
    if (folder.empty()) return gs::Error{gs::ErrorKind::kUsage, "no_folder", "The preset is not saved", "this window keeps no settings", "Start without --safe-mode"};
    std::vector<gs::Error> problems;
    fs::path file = folder / (file_name_of(title) + ".json");
    for (const Preset& other : read_own_presets(folder, problems))
        if (other.title == title) file = other.file;
    std::error_code ignored;
    for (int n = 2; fs::exists(file, ignored); ++n) {  // another title with the same letters
        const auto json = read_json(file);
        if (json && json->is_object() && json->value("title", Json()) == title) break;
        file = folder / fmt::format("{}-{}.json", file_name_of(title), n);
    }
    const std::string kept = sentence.empty() ? "Saved from the window" : sentence.substr(0, kLongestSentence);
    const Json json = {{"title", title}, {"sentence", kept}, {"state", line}};
    GS_TRY_VOID(write_file_atomically(file, json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"));
    return Preset{file.stem().string(), title, kept, line, file};
}

gs::Result<void> delete_preset(const Preset& preset) {
    std::error_code error;
    if (preset.is_own() && !fs::remove(preset.file, error) && error)
        return gs::Error{gs::ErrorKind::kRun, "cannot_write", "The preset is not deleted", error.message(), "Remove " + preset.file.string()};
    return {};
}

}  // namespace app
