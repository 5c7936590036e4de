#include "app/views/study_controls.h"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/views/job_controls.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/stepper.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

bool is_left_out(const StudyChoice& choice, const std::string& name) {
    return std::find(choice.left_out.begin(), choice.left_out.end(), name) != choice.left_out.end();
}

int n_texts(const StudyChoice& choice) {
    const std::vector<std::string> names = bundled_text_names();
    return static_cast<int>(std::count_if(names.begin(), names.end(), [&](const std::string& n) { return !is_left_out(choice, n); }) + static_cast<std::ptrdiff_t>(choice.files.size()));
}

void text_menu(ViewContext& context) {
    StudyChoice& choice = context.settings.study;
    dim_text("Bundled samples, a domain each");
    for (const std::string& name : bundled_text_names()) {
        bool wanted = !is_left_out(choice, name);
        if (!ImGui::Checkbox(fmt::format("{0}###sample_{0}", name).c_str(), &wanted)) continue;
        if (wanted) std::erase(choice.left_out, name);
        else choice.left_out.push_back(name);
    }
    ImGui::Separator();
    dim_text("Your own: the file's name is the domain");
    for (size_t i = 0; i < choice.files.size(); ++i) {
        ImGui::PushID(static_cast<int>(i));
        const bool removed = ImGui::Button("Remove###remove");
        tooltip("Leaves the file alone; it only no longer takes part");
        ImGui::SameLine();
        ImGui::TextUnformatted(visible_name(std::filesystem::path(choice.files[i]).filename().string()).c_str());
        tooltip(visible_name(choice.files[i]).c_str());
        ImGui::PopID();
        if (removed) choice.files.erase(choice.files.begin() + static_cast<std::ptrdiff_t>(i--));
    }
    if (ImGui::Button("Add a text…###add")) context.wants_text_file = true;
    tooltip("Or drop text files on the window while this panel is in sight");
}

}  // namespace

gs::Result<gs::StudyRequest> request_of(const StudyChoice& choice) {
    gs::StudyRequest request{.max_tokens = choice.max_tokens};
    for (const std::string& name : bundled_text_names()) {
        if (is_left_out(choice, name)) continue;
        GS_TRY(std::string text, bundled_text(name));
        request.texts.push_back({name, std::move(text)});
    }
    for (const std::string& file : choice.files) {
        GS_TRY(std::string text, read_text_file(file));
        request.texts.push_back({visible_name(std::filesystem::path(file).stem().string()), std::move(text)});
    }
    if (request.texts.empty()) return gs::Error{gs::ErrorKind::kUsage, "no_texts", "There is nothing to study", "every text is switched off", "Choose one under Texts"};
    return request;
}

void start_study(ViewContext& context) {
    auto request = request_of(context.settings.study);
    if (!request) return context.session.notify({.error = request.error()});
    request->policy = context.state.policy;
    context.session.request_expert_study(*request);
}

std::shared_ptr<const gs::ExpertStudy> study_of(const gs::SessionState& state) {
    const auto& study = state.study;
    return study && (!state.model || study->model_hash == state.model->hash) && study->n_layers() > 0 ? study : nullptr;
}

void draw_study_controls(ViewContext& context) {
    context.takes_texts = true;
    StudyChoice& choice = context.settings.study;
    const std::string texts = fmt::format("{} texts…", n_texts(choice));
    if (ImGui::Button((texts + "###texts").c_str())) ImGui::OpenPopup("study_texts");
    tooltip("Which texts are studied: bundled samples by domain, and your own");
    if (ImGui::BeginPopup("study_texts")) {
        text_menu(context);
        ImGui::EndPopup();
    }
    same_line_if_fits(text_length_combo_width());
    text_length_combo("###study_length", choice.max_tokens, "At most so many tokens of each text. More tokens: steadier figures, longer work.");
    same_line_if_fits(icon_button_width("Study"));
    if (job_button(context, {gs::Activity::kStudying, "###study", "Study", "Routes the texts under the policy in force and looks at what every expert is used for"})) start_study(context);
    job_progress(context, gs::Activity::kStudying);
}

bool draw_if_no_study(ViewContext& context, const gs::ExpertStudy* study, const char* needs) {
    if (study) return false;
    const gs::SessionState& state = context.state;
    if (state.model && !state.model->spec.is_moe()) {
        empty_state("A dense model", "It has no routed experts.", nullptr);
    } else if (state.activity == gs::Activity::kStudying) {
        empty_state("Studying…", "The first text is being routed.", nullptr);
    } else if (!state.can_run()) {
        empty_state("No study yet", "Studying the experts needs a loaded model.", nullptr);
    } else if (empty_state("No study yet", needs, "Study the experts")) {
        start_study(context);
    }
    return true;
}

Pick study_pick(const gs::ExpertStudy& study, const Pick& selected) {
    Pick pick = selected;
    if (pick.moe_layer < 0 || pick.moe_layer >= study.n_layers()) pick.moe_layer = study.n_layers() / 2;
    if (pick.expert < 0 || pick.expert >= study.n_experts()) {
        const auto& experts = study.layers[static_cast<size_t>(pick.moe_layer)].importance;
        const auto most = std::max_element(experts.begin(), experts.end(), [](const auto& a, const auto& b) { return a.n < b.n; });
        pick.expert = static_cast<int>(most - experts.begin());
    }
    return pick;
}

static constexpr const char* kWidestExpert = "expert 888 of 888";

float expert_stepper_width() { return stepper_width(kWidestExpert); }

bool expert_stepper(const char* id, int n_experts, int& expert) {
    return stepper(id, {fmt::format("expert {} of {}", expert, n_experts), kWidestExpert, "Expert before", "Expert after"}, n_experts, expert);
}

}  // namespace app
