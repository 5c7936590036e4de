#include "app/views/text_chooser.h"

#include <algorithm>
#include <cstdlib>

#include "app/base/texts.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"
#include "imgui_stdlib.h"

namespace app {
namespace {

using Source = TextChoice::Source;

}  // namespace

std::string TextChooser::text(const ViewContext& context) const {
    const TextChoice& choice = context.settings.measured_text;
    if (choice.source == Source::kOwn) return choice.own;
    if (choice.source == Source::kRun) {
        const gs::TraceSnapshot& trace = context.what_if.run_trace();
        std::string text;
        for (int t = 0; t < trace.n_tokens(); ++t)
            if (!trace.token(t).special) text += trace.token(t).text;
        return text;
    }
    const gs::Result<std::string> text = bundled_text(choice.sample);
    return text ? *text : "";
}

std::string TextChooser::name(const ViewContext& context) const {
    const TextChoice& choice = context.settings.measured_text;
    switch (choice.source) {
        case Source::kSample: return choice.sample;
        case Source::kRun: return "text of the run";
        case Source::kOwn: break;
    }
    return choice.own_name.empty() ? "own text" : choice.own_name;
}

void TextChooser::open_file(ViewContext& context) {
    if (!m_dialog.is_open()) return;
    context.keep_awake(0.2);                               // a dialog of the desktop is polled
    const auto path = m_dialog.draw();
    if (!path) return;
    auto text = read_text_file(*path);
    if (!text) return context.session.notify({.error = text.error()});
    TextChoice& choice = context.settings.measured_text;
    choice.own = std::move(*text);
    choice.own_name = path->filename().string();
    choice.source = Source::kOwn;
}

void TextChooser::edit_popup(ViewContext& context) {
    if (!ImGui::BeginPopup("own_text")) return;
    TextChoice& choice = context.settings.measured_text;
    if (ImGui::IsWindowAppearing()) ImGui::SetKeyboardFocusHere();
    if (ImGui::InputTextMultiline("###own", &choice.own, {ImGui::GetFontSize() * 36, ImGui::GetFontSize() * 14}, ImGuiInputTextFlags_WordWrap)) choice.own_name.clear();
    if (ImGui::Button("Done###done")) ImGui::CloseCurrentPopup();
    ImGui::EndPopup();
}

void TextChooser::draw(ViewContext& context, const char* explanation) {
    TextChoice& choice = context.settings.measured_text;
    if (m_samples.empty()) m_samples = bundled_text_names();
    std::vector<const char*> names;
    for (const std::string& name : m_samples) names.push_back(name.c_str());
    const int n_samples = static_cast<int>(names.size());
    const std::string own = choice.own_name.empty() ? "own text…" : choice.own_name;
    names.insert(names.end(), {"text of the run", own.c_str(), "file…"});
    const auto found = std::find(m_samples.begin(), m_samples.end(), choice.sample);
    int index = choice.source == Source::kSample ? static_cast<int>(found - m_samples.begin()) : choice.source == Source::kRun ? n_samples : n_samples + 1;
    label("Text");
    if (name_combo("###text", names, index, explanation)) {
        if (index < n_samples) choice.source = Source::kSample, choice.sample = m_samples[static_cast<size_t>(index)];
        if (index == n_samples) choice.source = Source::kRun;
        if (index == n_samples + 1) choice.source = Source::kOwn, ImGui::OpenPopup("own_text");
        const char* const home = std::getenv("HOME");
        if (index == n_samples + 2) m_dialog.open({FileMode::kOpen, "Open a text", {".txt", ".md"}, home ? home : "."}, true);
    }
    if (choice.source == Source::kOwn) {
        same_line_if_fits(button_width("Edit…"));
        if (ImGui::Button("Edit…###edit")) ImGui::OpenPopup("own_text");
        tooltip("Write or paste the text");
    }
    edit_popup(context);
    open_file(context);
    same_line_if_fits(text_length_combo_width());
    text_length_combo("###length", choice.max_tokens, "At most so many tokens from the beginning of the text. More tokens: steadier figures, longer work.");
}

}  // namespace app
