// Opening and saving: what a file is, and what is done with it.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <utility>

#include "app/base/texts.h"
#include "app/report/report.h"
#include "app/shell/app_ui.h"
#include "app/widgets/ui_kit.h"
#include "engine/io/import_trace.h"

namespace fs = std::filesystem;

namespace app {
std::string kind_of_file(const fs::path& path) {
    const std::string extension = path.extension().string();
    if (extension == ".gguf" || extension == ".safetensors") return extension;
    if (gs::importer_of(path)) return ".trace";
    std::array<char, 9> head{};
    std::ifstream in(path, std::ios::binary);
    in.read(head.data(), head.size());
    if (std::string_view(head.data(), 4) == "GGUF") return ".gguf";
    // A safetensors file begins with the length of its JSON header and then the header.
    if (in.gcount() == 9 && head[8] == '{' && head[7] == 0 && head[6] == 0) return ".safetensors";
    return in.gcount() > 0 ? ".txt" : "";
}

void AppUi::open_path(const fs::path& path) {
    const std::string kind = kind_of_file(path);
    if (kind == ".gguf") return m_session.inspect_model(path);
    if (kind == ".safetensors" || kind == ".trace") return m_session.load_trace(path);
    if (m_takes_texts) return add_study_text(path);
    auto text = read_text_file(path, kMaxPromptBytes);
    if (text) {
        m_settings.prompt = *text;
        return;
    }
    gs::Error error = text.error();
    if (error.code == "not_text") error.remedy = "Choose a model (.gguf), a recorded run (.safetensors, or of another program) or a text in UTF-8";
    m_session.notify({.error = error});
}

void AppUi::ask_open(const gs::SessionState& state) {
    if (m_file_dialog.is_open()) return;
    fs::path start = m_last_folder;
    if (start.empty() && state.model) start = fs::path(state.model->path).parent_path();
    if (start.empty())
        if (const char* home = std::getenv("HOME")) start = home;
    m_dialog_saves = m_dialog_adds_text = m_dialog_exports = false;
    m_file_dialog.open({FileMode::kOpen, "Open a model or a recorded run", {".gguf", ".safetensors", ".csv", ".json", ".jsonl", ".npy", ".npz", ".trace", ".txt"}, start}, true);
}

void AppUi::ask_text(const gs::SessionState&) {
    if (m_file_dialog.is_open()) return;
    fs::path start = m_last_folder;
    if (start.empty())
        if (const char* home = std::getenv("HOME")) start = home;
    m_dialog_saves = m_dialog_exports = false;
    m_dialog_adds_text = true;
    m_file_dialog.open({FileMode::kOpen, "Add a text of your own", {".txt", ".md"}, start}, true);
}

/// Read once now, so that what cannot be used is said at once; again when the study starts.
void AppUi::add_study_text(const fs::path& path) {
    if (const auto text = read_text_file(path); !text) return m_session.notify({.error = text.error()});
    std::vector<std::string>& files = m_settings.study.files;
    if (std::find(files.begin(), files.end(), path.string()) == files.end()) files.push_back(path.string());
}

void AppUi::ask_save(const gs::SessionState& state) {
    if (m_file_dialog.is_open() || !state.run || state.run->trace.empty()) return;
    fs::path start = m_last_folder;
    if (start.empty())
        if (const char* home = std::getenv("HOME")) start = home;
    m_dialog_saves = true;
    m_dialog_adds_text = m_dialog_exports = false;
    m_file_dialog.open({FileMode::kSave, "Save the run on screen", {".safetensors"}, start / "run.safetensors"}, true);
}

void AppUi::ask_save_as(const char* title, const std::string& name) {
    fs::path start = m_last_folder;
    if (start.empty())
        if (const char* home = std::getenv("HOME")) start = home;
    m_dialog_saves = m_dialog_exports = true;
    m_dialog_adds_text = false;
    m_file_dialog.open({FileMode::kSave, title, {fs::path(name).extension().string()}, start / name}, true);
}

void AppUi::ask_export(const gs::SessionState& state, const char* format) {
    if (m_file_dialog.is_open() || !state.run || state.run->trace.empty()) return;
    m_picture_to_save.reset();
    ask_save_as("Export the run on screen", std::string("run.") + format);
}

void AppUi::file_chosen(const fs::path& path) {
    if (m_dialog_adds_text) return add_study_text(path);
    if (!m_dialog_saves) return open_path(path);
    if (!m_dialog_exports) return m_session.save_trace(path);
    if (m_picture_to_save) {
        m_requests.picture = std::exchange(m_picture_to_save, std::nullopt);
        m_requests.picture->path = path;
        return;
    }
    const std::string ending = path.extension().string();
    m_session.export_run(path, [format = ending.empty() ? ending : ending.substr(1)](const gs::TraceSnapshot& trace, const fs::path& to) { return export_run(trace, format, to); });
}

}  // namespace app
