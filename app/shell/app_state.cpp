// What is on screen as one line and back (state_line.h): copied, pasted, given on the command line, kept as presets and bookmarks.
#include <fmt/format.h>

#include <algorithm>

#include "app/base/paths.h"
#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/widgets/token_text.h"

namespace fs = std::filesystem;

namespace app {
namespace {

constexpr int kLongestWait_frames = 120;
constexpr double kToast_seconds = 2.5;

gs::PromptMode mode_of(const ViewSettings& s) { return s.chat ? gs::PromptMode::kChat : gs::PromptMode::kRaw; }

/// The run on screen is what running this state would give again; a replayed run is taken at its word.
bool is_on_screen(const gs::SessionState& now, const StateLine& wanted, const gs::Policy& policy) {
    if (!now.run || now.run->trace.empty() || now.run->phase != gs::RunPhase::kFinished) return false;
    const gs::RunResult& run = *now.run;
    const bool replayed = run.trace.info().provenance == gs::Provenance::kReplayed;
    const bool same_length = replayed || (run.request.max_new_tokens == wanted.settings.max_new_tokens && run.request.sampler == wanted.settings.sampler);
    return run.request.prompt == wanted.settings.prompt && run.request.mode == mode_of(wanted.settings) && same_length &&
           run.trace.policy(run.trace.n_tokens() - 1) == policy;
}

}  // namespace

void AppUi::set_folder(const fs::path& folder) {
    m_folder = folder;
    m_bookmarks = Bookmarks(folder.empty() ? fs::path() : folder / "bookmarks.json");
    if (m_bookmarks.problem()) m_session.notify({.is_error = false, .error = *m_bookmarks.problem()});
    read_all_presets();
}

StateLine AppUi::current_state(const gs::SessionState& now) const {
    StateLine s{.settings = m_settings, .policy = now.policy, .compare = {}, .pick = m_selected, .layout = m_layout, .show = {}, .zoom = {}, .model = {}};
    if (m_what_if.active()) s.policy = *m_what_if.policy();
    if (now.run && !now.run->request.prompt.empty()) {
        const gs::RunResult& run = *now.run;
        s.settings.prompt = run.request.prompt;
        s.settings.chat = run.request.mode == gs::PromptMode::kChat;
        if (run.trace.empty() || run.trace.info().provenance != gs::Provenance::kReplayed) {
            s.settings.max_new_tokens = run.request.max_new_tokens;
            s.settings.sampler = run.request.sampler;
        }
        if (now.comparison && now.previous && now.comparison->run_b == run.id) s.compare = now.previous->request.policy;
    }
    for (const Panel& panel : m_panels) {
        const Dock dock = panel.row->places.in(m_layout);
        if (dock != Dock::kTop && dock != Dock::kStatus && dock != Dock::kRight && is_in_front(panel)) s.show.push_back(panel.row->id);
        if (std::string(panel.row->id) == "heatmap") s.zoom = panel.view->zoom();
    }
    if (now.model) s.model = now.model->spec.name;
    else if (now.run && !now.run->trace.empty()) s.model = now.run->trace.info().model_name;
    return s;
}

gs::Result<void> AppUi::restore(const std::string& line, bool model_comes) {
    GS_TRY(const StateLine state, parse_state_line(line));
    restore(state, *m_session.latest(), model_comes);
    return {};
}

void AppUi::show_panels(const StateLine& s) {
    const bool hint_done = m_settings.k_hint_done;
    m_settings = s.settings;
    m_settings.k_hint_done = hint_done;
    if (s.layout != m_layout) set_layout(s.layout);
    for (const std::string& id : s.show) raise(id);
    panel_of("heatmap")->view->set_zoom(s.zoom);
}

void AppUi::restore(const StateLine& s, const gs::SessionState& now, bool model_comes) {
    show_panels(s);
    m_what_if.set_policy(std::nullopt);
    m_pending_state = PendingState{.state = s};
    const gs::Policy first = s.compare.value_or(s.policy);
    const bool can_run = now.can_run() || model_comes;
    const std::string model = now.model ? now.model->spec.name : now.run && !now.run->trace.empty() ? now.run->trace.info().model_name : "";
    if (!s.model.empty() && !model.empty() && s.model != model)
        m_session.notify({.is_error = false, .error = {gs::ErrorKind::kRun, "other_model", "This state was made with " + visible_name(s.model),
                                                       visible_name(model) + " is loaded: layers and experts mean something else in it", "Open that model to see the same"}});
    if (is_on_screen(now, s, first) && (!s.compare || !can_run)) {
        m_session.set_policy(s.policy);
    } else if (can_run) {
        m_pending_state->run_before = now.run ? now.run->id : 0;
        m_session.run({.prompt = s.settings.prompt, .mode = mode_of(s.settings), .max_new_tokens = s.settings.max_new_tokens, .sampler = s.settings.sampler, .policy = first});
        return;
    } else if (now.run && now.run->request.prompt != s.settings.prompt) {
        m_session.notify({.is_error = false, .error = {gs::ErrorKind::kRun, "needs_model", "The prompt of this state is not run", "no model is loaded",
                                                       "Open a model (Ctrl+O) and restore the state again"}});
    }
    m_session.set_policy(s.policy);
    const bool have_trace = now.run && !now.run->trace.empty();
    if (have_trace && !(s.policy == now.run->trace.policy(now.run->trace.n_tokens() - 1))) m_what_if.set_policy(s.policy);
    m_pending_state->state.compare.reset();
}

/// The selection once there are tokens to select; the second run of a comparison once the first is done.
void AppUi::settle_state(const gs::SessionState& now) {
    if (!m_pending_state) return;
    PendingState& pending = *m_pending_state;
    const bool fresh = now.run && now.run->id > pending.run_before && !now.run->trace.empty();
    const bool finished = fresh && now.run->phase == gs::RunPhase::kFinished, idle = now.activity == gs::Activity::kIdle;
    if (pending.state.compare && fresh) {
        if (!finished || !idle) return;
        m_session.rerun_and_compare(pending.state.policy);
        pending.state.compare.reset();
        pending.run_before = now.run->id;
    } else if (fresh && (finished || now.run->trace.n_tokens() > pending.state.pick.token)) {
        const gs::TraceSnapshot& trace = now.run->trace;
        const Pick& pick = pending.state.pick;
        m_selected = {std::min(pick.token, trace.n_tokens() - 1), std::min(pick.moe_layer, trace.n_moe_layers() - 1), std::min(pick.expert, trace.n_experts() - 1)};
        m_pending_state.reset();
        return;
    }
    pending.idle_frames = idle ? pending.idle_frames + 1 : 0;
    if (pending.idle_frames > kLongestWait_frames) m_pending_state.reset();  // the run failed, and a message says so
}

void AppUi::copy_state(ViewContext& context) {
    const std::string line = to_line(current_state(context.state));
    ImGui::SetClipboardText(line.c_str());
    say(context, "Copied: " + line);
}

void AppUi::paste_state(ViewContext& context) {
    const char* text = ImGui::GetClipboardText();
    if (const auto done = restore(text ? text : ""); !done) m_session.notify({.error = done.error()});
    else say(context, "State restored");
}

/// A word at the lower edge that goes by itself: what was done left no other trace.
void AppUi::say(const ViewContext& context, const std::string& text) {
    m_said = visible_name(text);
    m_said_until = context.time_seconds + kToast_seconds;
}

void AppUi::draw_said(ViewContext& context) {
    if (context.time_seconds >= m_said_until) return;
    context.keep_awake_past(m_said_until - context.time_seconds);
    const ImGuiViewport* screen = ImGui::GetMainViewport();
    const float unit = ImGui::GetFontSize();
    ImGui::SetNextWindowPos({screen->GetCenter().x, screen->WorkPos.y + screen->WorkSize.y - unit}, ImGuiCond_Always, {0.5f, 1});
    const ImGuiWindowFlags flags = ImGuiWindowFlags_NoDecoration | ImGuiWindowFlags_NoInputs | ImGuiWindowFlags_NoNav | ImGuiWindowFlags_NoSavedSettings |
                                   ImGuiWindowFlags_NoFocusOnAppearing | ImGuiWindowFlags_AlwaysAutoResize | ImGuiWindowFlags_NoDocking;
    if (ImGui::Begin("###said", nullptr, flags)) {
        ImGui::PushTextWrapPos(std::min(unit * 50, screen->WorkSize.x * 0.8f));
        ImGui::TextUnformatted(m_said.c_str());
        ImGui::PopTextWrapPos();
    }
    ImGui::End();
}

void AppUi::set_bookmark(ViewContext& context, int slot) {
    const gs::TraceSnapshot& trace = m_what_if.run_trace();
    if (trace.empty()) return;
    const Pick& pick = m_selected;
    std::string name = pick.token >= 0 && pick.token < trace.n_tokens() ? fmt::format("token {} {}", pick.token + 1, short_token(trace.token(pick.token).text, 16)) : "no token";
    if (pick.moe_layer >= 0 && pick.moe_layer < trace.n_moe_layers()) name += fmt::format(" · layer {}", trace.info().moe_layers[static_cast<size_t>(pick.moe_layer)]);
    if (pick.expert >= 0) name += fmt::format(" · expert {}", pick.expert);
    const StateLine now = current_state(context.state);
    const auto done = m_bookmarks.set(slot, Bookmark{name, pick, now.show.empty() ? "" : now.show.front(), now.zoom});
    if (!done) m_session.notify({.error = done.error()});
    say(context, fmt::format("Bookmark {}: {}", slot, name));
}

void AppUi::go_to_bookmark(ViewContext& context, int slot) {
    const auto mark = m_bookmarks.at(slot);
    const gs::TraceSnapshot& trace = m_what_if.run_trace();
    if (!mark || trace.empty()) return;
    m_selected = {std::min(mark->pick.token, trace.n_tokens() - 1), std::min(mark->pick.moe_layer, trace.n_moe_layers() - 1),
                  std::min(mark->pick.expert, trace.n_experts() - 1)};
    panel_of("heatmap")->view->set_zoom(mark->zoom);
    raise(mark->view);
    say(context, fmt::format("Bookmark {}: {}", slot, mark->name));
}

void AppUi::read_all_presets() {
    m_commands.remove("preset.");
    m_presets.clear();
    if (auto delivered = read_presets(asset_path("presets.json"))) m_presets = std::move(*delivered);
    else m_session.notify({.is_error = false, .error = delivered.error()});   // the window works without
    std::vector<gs::Error> problems;
    for (Preset& own : read_own_presets(m_folder.empty() ? fs::path() : m_folder / "presets", problems)) m_presets.push_back(std::move(own));
    for (const gs::Error& problem : problems) m_session.notify({.is_error = false, .error = problem});
    for (const Preset& preset : m_presets)
        m_commands.add({(preset.is_own() ? "preset.own." : "preset.") + preset.id, CommandGroup::kPreset, visible_name(preset.title), visible_name(preset.sentence), "",
                        [this, preset](ViewContext& c) { open_preset(c, preset); }});
}

void AppUi::open_preset(ViewContext& context, const Preset& preset) {
    const auto state = parse_state_line(preset.line);
    if (!state) return m_session.notify({.error = state.error()});
    restore(*state, context.state, context.state.activity == gs::Activity::kLoadingModel);
    m_said = preset.title + ": " + preset.sentence;
    m_said_until = context.time_seconds + 3 * kToast_seconds;
}

}  // namespace app
