#include "app/shell/app.h"

#include <fmt/format.h>

#include <cstdio>

#include "app/base/paths.h"
#include "app/shell/app_settings.h"
#include "app/shell/app_ui.h"
#include "app/shell/shell.h"
#include "engine/model/model.h"

namespace fs = std::filesystem;

namespace app {
namespace {

/// The window while it is open: order of members is order of life.
struct App {
    std::unique_ptr<Shell> shell;
    ViewSettings settings;
    Appearance appearance;
    std::unique_ptr<gs::Session> session;
    std::unique_ptr<AppUi> ui;

    void draw(FrameInfo& info);
    void save_picture(const PanelPicture& picture);
    void apply(const Appearance& wanted);
    void keep();
};

void App::apply(const Appearance& wanted) {
    ThemeKind theme = shell->theme();
    parse_theme(wanted.theme, theme);
    shell->set_theme(theme);
    shell->set_scale(wanted.scale);
    appearance = wanted;
    keep();
}

void App::keep() {
    write_settings(shell->settings().values, settings, appearance);
    write_layout(shell->settings().values, ui->layout_state());
    shell->settings().values["keys"] = ui->commands().changed_keys();
    if (const auto saved = shell->settings().save(); !saved) session->notify({.error = saved.error()});
}

void App::draw(FrameInfo& info) {
    const std::shared_ptr<const gs::SessionState> state = session->latest();
    appearance.scale = info.scale;
    ui->draw(*state, theme_of(shell->theme()), appearance, info.time_seconds);
    info.awake_until = ui->awake_until();
    const UiRequests requests = ui->take_requests();
    info.close = requests.quit;
    if (requests.full_screen) shell->toggle_full_screen();
    if (requests.appearance) apply(*requests.appearance);
    if (requests.picture) save_picture(*requests.picture);
}

void App::save_picture(const PanelPicture& picture) {
    const auto saved = save_panel_picture(picture, *session, settings);
    const std::string text = fmt::format("Saved a picture of {}x{} pixels", picture.width_px, picture.height_px);
    session->notify(saved ? gs::Notice{.is_error = false, .error = {gs::ErrorKind::kRun, "saved", text, picture.path.string(), ""}} : gs::Notice{.error = saved.error()});
}

/// A model named on the command line is loaded at once if it fits; otherwise the question with the numbers comes up. False when it is no
/// model or one that cannot be read: a message then says why.
bool open_model_argument(App& app, const fs::path& file) {
    if (kind_of_file(file) != ".gguf") return false;
    const auto estimate = gs::estimate_model(file, 0);
    if (!estimate) {
        app.session->notify({.error = estimate.error()});
        return false;
    }
    if (refusal(*estimate).empty())
        app.session->load_model(file);
    else
        app.session->inspect_model(file);
    return true;
}

void start_content(App& app, const WindowOptions& options, const gs::Policy& policy) {
    std::error_code ignored;
    const std::string kind = options.file.empty() ? "" : kind_of_file(options.file);
    if (kind != ".safetensors" && fs::exists(bundled_run_path(), ignored)) app.session->load_trace(bundled_run_path());
    if (!open_model_argument(app, options.file)) app.session->load_model(bundled_model_path());
    if (!options.file.empty() && kind != ".gguf") app.ui->open_path(options.file);
    if (!(policy == gs::Policy{})) app.session->set_policy(policy);
    if (!options.state.empty())
        if (const auto restored = app.ui->restore(options.state, true); !restored) app.session->notify({.error = restored.error()});
    if (options.prompt.empty()) return;
    app.settings.prompt = options.prompt;
    gs::RunRequest request{.prompt = options.prompt, .mode = app.settings.chat ? gs::PromptMode::kChat : gs::PromptMode::kRaw};
    request.max_new_tokens = app.settings.max_new_tokens;
    request.sampler = app.settings.sampler;
    request.policy = policy;
    app.session->run(request);
}

int report(const gs::Error& error, const char* hint) {
    fmt::print(stderr, "gatescope: {}\n{}", error.message(), hint);
    return gs::exit_code(error.kind);
}

constexpr const char* kHeadlessHint =
    "Without a window, these work: gatescope run --prompt \"What is a llama?\", gatescope screenshot --out run.png, gatescope --help\n";

}  // namespace

int run_window(const WindowOptions& options) {
    const auto policy = gs::Policy::parse(options.policy);
    if (!policy) return report(policy.error(), "");
    const fs::path config = options.safe_mode ? fs::path() : options.config_dir;
    auto shell = Shell::create({.width = options.width,
                                .height = options.height,
                                .scale = options.scale,
                                .interop = options.interop,
                                .validation = options.validate,
                                .config_dir = config,
                                .exit_after_seconds = options.exit_after_seconds});
    if (!shell) return report(shell.error(), kHeadlessHint);
    App app;
    app.shell = std::move(*shell);
    Shell& window = *app.shell;
    app.appearance = {.theme = "dark", .scale = 0};
    read_settings(window.settings().values, app.settings, app.appearance);
    if (!options.theme.empty()) app.appearance.theme = options.theme;
    if (options.scale > 0) app.appearance.scale = options.scale;
    gs::EngineRequest engine = options.engine;
    engine.viewer = window.viewer();
    app.session = std::make_unique<gs::Session>(
        gs::SessionOptions{.wake = [&window] { window.wake(); }, .engine = engine, .reading = options.reading});
    app.ui = std::make_unique<AppUi>(*app.session, window.heatmaps(), app.settings);
    app.ui->set_folder(config);
    app.ui->commands().read_keys(window.settings().values.value("keys", nlohmann::json()));
    LayoutState layout;
    const bool as_left = read_layout(window.settings().values, layout);
    app.ui->set_layout_state(layout);
    if (!as_left) app.ui->reset_layout();
    for (const gs::Error& problem : window.settings().problems()) app.session->notify({.is_error = false, .error = problem});
    ThemeKind theme = ThemeKind::kDark;
    parse_theme(app.appearance.theme, theme);
    window.set_theme(theme);
    if (app.appearance.scale > 0) window.set_scale(app.appearance.scale);
    window.on_drop = [&app](std::vector<fs::path> paths) {
        for (const fs::path& path : paths) app.ui->open_path(path);
        app.shell->wake();
    };
    start_content(app, options, *policy);
    const auto ended = window.run([&app](FrameInfo& info) { app.draw(info); });
    app.keep();
    return ended ? 0 : report(ended.error(), "");
}

}  // namespace app
