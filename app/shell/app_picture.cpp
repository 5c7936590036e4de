// The window without a window: pictures of a run.
#include <fmt/format.h>

#include <algorithm>

#include "app/base/paths.h"
#include "app/base/texts.h"
#include "app/shell/app.h"
#include "app/shell/app_ui.h"
#include "app/shell/shell.h"
#include "app/views/study_controls.h"
#include "engine/run/k_grid.h"

namespace fs = std::filesystem;

namespace app {
namespace {

constexpr double kLongestWork_seconds = 3600;
constexpr int kSettleFrames = 6;  ///< docking, bars and gating answers settle over some frames

gs::Result<gs::Policy> parse_policy(const std::string& text) {
    if (text.empty()) return gs::Policy{};
    return gs::Policy::parse(text);
}

gs::Result<void> first_error(const gs::Session& session) {
    for (const gs::Notice& notice : session.latest()->notices)
        if (notice.is_error) return notice.error;
    return {};
}

gs::Result<void> finish(const gs::Session& session) {
    if (!session.wait_idle(kLongestWork_seconds))
        return gs::Error{gs::ErrorKind::kRun, "timeout", "The picture was not drawn", "the run took more than an hour",
                         "Ask for fewer tokens"};
    return first_error(session);
}

/// The map of a bundled sample and the schedule for a budget, as far as they are asked for.
gs::Result<void> prepare_map(gs::Session& session, const ScreenshotOptions& o) {
    if (o.map_domain.empty()) return {};
    GS_TRY(const std::string text, bundled_text(o.map_domain));
    const auto model = session.latest()->model;
    if (!model) return {};                                   // why it is not there has been said
    session.request_sensitivity({.text = text, .text_name = o.map_domain, .ks = gs::default_k_grid(model->spec.router), .max_tokens = o.map_tokens});
    GS_TRY_VOID(finish(session));
    if (o.budget.empty()) return {};
    GS_TRY(const gs::Budget budget, gs::Budget::parse(o.budget));
    session.request_schedule(budget);
    return finish(session);
}

/// Experts taken out of the run, and another model beside it, as far as they are asked for.
gs::Result<void> prepare_explained(gs::Session& session, const ScreenshotOptions& o, ViewSettings& settings) {
    if (!session.latest()->model) return {};
    gs::RunRequest answer{.prompt = settings.prompt, .max_new_tokens = std::min(o.max_new_tokens, 64)};
    if (!o.ablate.empty()) {
        GS_TRY(settings.ablated, gs::parse_ablated(o.ablate, gs::AblationMode::kZero));
        gs::AblationRequest request{.of_run = true, .experts = settings.ablated};
        settings.measured_text.source = TextChoice::Source::kRun;
        request.text_name = "text of the run";
        request.continuation = answer;
        session.request_ablation(request);
        GS_TRY_VOID(finish(session));
    }
    if (o.beside.empty()) return {};
    GS_TRY(const std::string text, bundled_text("prose"));
    session.request_side_by_side({.other = o.beside, .run = answer, .text = text, .text_name = "prose", .max_tokens = 256});
    return finish(session);
}

/// The sweep over a bundled sample, if one is asked for.
gs::Result<void> prepare_sweep(gs::Session& session, const ScreenshotOptions& o) {
    if (o.sweep_domain.empty()) return {};
    GS_TRY(const std::string text, bundled_text(o.sweep_domain));
    session.request_sweep({.text = text, .text_name = o.sweep_domain, .max_tokens = o.map_tokens});
    return finish(session);
}

/// Model and run of the picture, computed to the end.
gs::Result<void> prepare(gs::Session& session, const ScreenshotOptions& o) {
    std::error_code ignored;
    GS_TRY(const gs::Policy policy, parse_policy(o.policy));
    const bool runs = !o.prompt.empty() || !o.compare_policy.empty();
    const fs::path trace = !o.trace.empty() ? o.trace : o.prompt.empty() ? bundled_run_path() : fs::path();
    const bool have_trace = !trace.empty() && (!o.trace.empty() || fs::exists(trace, ignored));
    if (!o.pin.empty()) {
        session.load_trace(o.pin);
        session.pin_run();
        GS_TRY_VOID(finish(session));
    }
    if (have_trace) session.load_trace(trace);
    GS_TRY_VOID(finish(session));
    const fs::path model = o.model.empty() ? bundled_model_path() : o.model;
    if (runs || !o.model.empty() || fs::exists(model, ignored)) session.load_model(model);
    GS_TRY_VOID(finish(session));
    if (!o.prompt.empty())
        session.run({.prompt = o.prompt, .max_new_tokens = o.max_new_tokens, .policy = policy});
    else if (!(policy == gs::Policy{}))
        session.set_policy(policy);
    GS_TRY_VOID(finish(session));
    if (!o.compare_policy.empty()) {
        GS_TRY(const gs::Policy other, parse_policy(o.compare_policy));
        session.rerun_and_compare(other);
    }
    GS_TRY_VOID(finish(session));
    if (o.study) {
        GS_TRY(const gs::StudyRequest request, request_of(StudyChoice{}));
        session.request_expert_study(request);
    }
    GS_TRY_VOID(finish(session));
    GS_TRY_VOID(prepare_sweep(session, o));
    return prepare_map(session, o);
}

struct Drawer {
    gs::Session& session;
    AppUi& ui;
    Shell& shell;
    Appearance appearance;
    void operator()(FrameInfo& info) {
        const auto state = session.latest();
        ui.draw(*state, theme_of(shell.theme()), {appearance.theme, info.scale}, info.time_seconds);
    }
};

}  // namespace

std::string view_names() {
    std::string names;
    for (const ViewRow& row : all_views()) names += fmt::format("{}{}", names.empty() ? "" : ", ", row.id);
    return names;
}

gs::Result<std::string> render_screenshot(const ScreenshotOptions& o) {
    GS_TRY(const gs::Policy what_if, parse_policy(o.what_if));
    ThemeKind theme = ThemeKind::kDark;
    if (!parse_theme(o.theme, theme))
        return gs::Error{gs::ErrorKind::kUsage, "unknown_theme", "There is no theme " + o.theme, "the themes are dark, light and contrast",
                         "--theme dark"};
    GS_TRY(std::unique_ptr<Shell> shell,
           Shell::create(
               {.headless = true, .width = o.width, .height = o.height, .scale = o.scale, .theme = theme, .interop = o.interop, .validation = o.validate}));
    ViewSettings settings;
    if (!o.prompt.empty()) settings.prompt = o.prompt;
    gs::EngineRequest engine = o.engine;
    engine.viewer = shell->viewer();
    gs::Session session({.engine = engine});
    AppUi ui(session, shell->heatmaps(), settings);
    if (!o.view.empty() && !ui.show_only(o.view))
        return gs::Error{gs::ErrorKind::kUsage, "unknown_view", "There is no view " + o.view, "the views are " + view_names(),
                         "Leave --view out for the whole window"};
    LayoutKind layout = LayoutKind::kExplore;
    if (!o.layout.empty() && !parse_layout(o.layout, layout))
        return gs::Error{gs::ErrorKind::kUsage, "unknown_layout", "There is no layout " + o.layout, "the layouts are explore, teach and tune", "--layout explore"};
    ui.set_layout(layout);
    GS_TRY_VOID(prepare(session, o));
    GS_TRY_VOID(prepare_explained(session, o, settings));
    Drawer drawer{session, ui, *shell, {o.theme, o.scale}};
    GS_TRY_VOID(shell->run_frames(1, drawer));
    ui.selected() = o.pick;
    if (!o.state.empty()) GS_TRY_VOID(ui.restore(o.state));
    if (!o.what_if.empty()) ui.what_if().set_policy(what_if);
    if (!o.compare_policy.empty() || !o.pin.empty()) ui.raise("compare");
    if (!o.sweep_domain.empty()) ui.raise("sweep");
    if (!o.map_domain.empty()) ui.raise("sensitivity");
    for (int pass = 0; pass < 3; ++pass) {  // panels ask for what they lack while they draw
        GS_TRY_VOID(shell->run_frames(kSettleFrames, drawer));
        GS_TRY_VOID(finish(session));
    }
    GS_TRY_VOID(shell->run_frames(kSettleFrames, drawer));
    GS_TRY_VOID(shell->screenshot(o.out));
    const auto model = session.latest()->model;
    return !o.prompt.empty() && model ? model->drawing : std::string();
}

}  // namespace app
