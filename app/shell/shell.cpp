#include "app/shell/shell.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "app/shell/frame_pacer.h"
#include "app/shell/frame_renderer.h"
#include "app/shell/imgui_host.h"
#include "app/shell/window.h"
#include "imgui_internal.h"

namespace app {

static constexpr float kSmallestScale = 0.75f, kLargestScale = 3.0f;
static constexpr int kSettleFrames = 3;

static double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Shell::Impl {
    explicit Impl(const ShellOptions& o) : options(o), settings(o.config_dir), theme(o.theme), asked_scale(o.scale) {}

    ~Impl() {
        if (gpu && shared) gpu->wait_idle(), shared->detach();
    }

    gs::Result<void> start();
    gs::Result<void> frame(const DrawUi& draw);
    gs::Result<bool> fit_to_window();
    void apply_appearance();
    bool take_input();
    void keep_layout();
    double now() const { return window ? seconds_now() - started : double(n_frames) * ImGuiHost::kHeadlessFrameSeconds; }

    ShellOptions options;
    Settings settings;
    ThemeKind theme;
    float asked_scale, scale = 0;
    bool restyle = true;
    // In the order they need each other; ended the other way round.
    std::unique_ptr<Window> window;
    std::unique_ptr<GpuDevice> gpu;
    std::shared_ptr<GpuShared> shared;
    std::unique_ptr<FrameRenderer> frames;
    std::unique_ptr<ImGuiHost> imgui;
    std::unique_ptr<HeatmapRenderer> heatmaps;
    FramePacer pacer;
    FrameStats stats;
    std::atomic<bool> woken{false};
    double started = seconds_now();
    uint64_t n_frames = 0;
    int width_px = 0, height_px = 0;
    bool out_of_date = true, close_asked = false, minimised = false;
};

gs::Result<std::unique_ptr<Shell>> Shell::create(const ShellOptions& options) {
    std::unique_ptr<Shell> shell(new Shell(std::make_unique<Impl>(options)));
    GS_TRY_VOID(shell->m_impl->start());
    if (shell->m_impl->window)
        shell->m_impl->window->on_drop = [self = shell.get()](std::vector<std::filesystem::path> paths) {
            if (self->on_drop) self->on_drop(std::move(paths));
        };
    return shell;
}

Shell::Shell(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}

Shell::~Shell() {
    if (m_impl->imgui) m_impl->keep_layout();
    // Nothing can be done about a full disk at this point, and the file in place is whole.
    [[maybe_unused]] const auto saved = m_impl->settings.save();
}

static bool validation_asked() {
    const char* value = std::getenv("GATESCOPE_VALIDATION");
    return value && *value && std::string(value) != "0";
}

gs::Result<void> Shell::Impl::start() {
    GpuOptions gpu_options{.validation = options.validation || validation_asked()};
    if (!options.headless) {
        GS_TRY(window, Window::create(options.title, options.width, options.height));
        window->add_to(gpu_options);
        pacer.set_shortest_frame(window->shortest_frame_seconds());
    }
    GS_TRY(gpu, GpuDevice::create(gpu_options));
    GS_TRY(frames, FrameRenderer::create(*gpu));
    GS_TRY(imgui, ImGuiHost::create(*gpu, frames->pass(), window ? window->handle() : nullptr));
    GS_TRY(heatmaps, HeatmapRenderer::create(*gpu));
    shared = std::make_shared<GpuShared>(*gpu, options.interop ? "" : "--no-interop asks for it");
    heatmaps->set_shared(shared.get());
    if (!settings.layout().empty()) ImGui::LoadIniSettingsFromMemory(settings.layout().data(), settings.layout().size());
    return {};
}

void Shell::Impl::apply_appearance() {
    const float monitor = window ? window->content_scale() : 1;
    const float wanted = std::clamp(asked_scale > 0 ? asked_scale : monitor, kSmallestScale, kLargestScale);
    if (!restyle && wanted == scale) return;
    scale = wanted;
    restyle = false;
    apply_theme(theme, scale);
}

gs::Result<bool> Shell::Impl::fit_to_window() {
    int width = options.width, height = options.height;
    if (window) window->framebuffer_size(width, height);
    if (!out_of_date && width == width_px && height == height_px) return true;
    GS_TRY(const bool has_area, frames->resize(uint32_t(width), uint32_t(height)));
    if (!has_area) return false;
    width_px = width;
    height_px = height;
    out_of_date = false;
    return true;
}

void Shell::Impl::keep_layout() {
    ImGui::GetIO().WantSaveIniSettings = false;
    size_t size = 0;
    const char* text = ImGui::SaveIniSettingsToMemory(&size);
    [[maybe_unused]] const auto saved = settings.save_layout(std::string(text, size));   // tried again at the end
}

gs::Result<void> Shell::Impl::frame(const DrawUi& draw) {
    GS_TRY_VOID(frames->wait());
    GS_TRY(const bool has_area, fit_to_window());
    minimised = !has_area;
    if (minimised) return {};
    woken = false;                                              // news from here on need a frame of their own
    heatmaps->new_frame();
    apply_appearance();
    const double begun = seconds_now();
    imgui->new_frame(width_px, height_px);
    FrameInfo info{.number = n_frames, .time_seconds = now(), .scale = scale};
    draw(info);
    ImGui::Render();
    double ui_seconds = seconds_now() - begun;
    const auto timed = [&](auto record) {                       // without the wait for the display between the two
        return [&ui_seconds, record](VkCommandBuffer commands) {
            const double from = seconds_now();
            record(commands);
            ui_seconds += seconds_now() - from;
        };
    };
    GS_TRY(const bool shown, frames->draw(palette(theme).window, timed([&](VkCommandBuffer c) { heatmaps->record(c); }),
                                          timed([&](VkCommandBuffer c) { imgui->record(c); })));
    if (shared->is_held()) {                                    // the engine may want to overwrite it
        GS_TRY_VOID(frames->wait());
        shared->let_go();
    }
    GS_TRY_VOID(imgui->take_failure());
    out_of_date = !shown;
    stats.add(ui_seconds * 1e3);
    ++n_frames;
    close_asked = close_asked || info.close;
    pacer.note_frame(now(), info.awake_until, ImGui::GetIO().WantTextInput);
    if (out_of_date) pacer.note_wake();                         // the same picture again, at the new size
    if (ImGui::GetIO().WantSaveIniSettings) keep_layout();
    return {};
}

bool Shell::Impl::take_input() {
    const bool input = ImGui::GetCurrentContext()->InputEventsQueue.Size > 0;
    return (window && window->take_dirty()) || input;
}

gs::Result<void> Shell::run(const DrawUi& draw) {
    Impl& m = *m_impl;
    if (!m.window)
        return gs::Error{gs::ErrorKind::kUsage, "headless", "Cannot run a window", "the shell was made headless", "Use run_frames"};
    while (!m.window->should_close() && !m.close_asked) {
        const double now = m.now(), left = m.options.exit_after_seconds - now;
        if (m.options.exit_after_seconds > 0 && left <= 0) break;
        FramePacer::Next next = m.pacer.next(now);
        if (m.minimised || m.window->minimised()) next = {false, -1};
        if (next.draw) {
            m.window->poll();
        } else {
            if (m.options.exit_after_seconds > 0 && (next.wait_seconds < 0 || next.wait_seconds > left)) next.wait_seconds = left;
            m.window->wait(next.wait_seconds);
            m.minimised = false;
        }
        if (m.take_input()) m.pacer.note_input();
        if (m.woken.exchange(false)) m.pacer.note_wake();
        if (next.draw) GS_TRY_VOID(m.frame(draw));
    }
    return {};
}

gs::Result<void> Shell::run_frames(int n, const DrawUi& draw) {
    for (int i = 0; i < n; ++i) {
        if (m_impl->window) m_impl->window->poll();
        GS_TRY_VOID(m_impl->frame(draw));
    }
    return {};
}

gs::Result<void> Shell::run_script(std::span<const InputEvent> events, const DrawUi& draw) {
    for (const InputEvent& event : events) {
        apply(event);
        GS_TRY_VOID(run_frames(1, draw));
    }
    return run_frames(kSettleFrames, draw);
}

gs::Result<int> Shell::count_idle_frames(double seconds, const DrawUi& draw) {
    Impl& m = *m_impl;
    GS_TRY_VOID(run_frames(FramePacer::kSettleFrames, draw));   // what was going on before settles
    const uint64_t before = m.n_frames;
    const double end = seconds_now() + seconds;
    constexpr double kLookEvery = 0.005;
    while (seconds_now() < end) {
        if (m.woken.exchange(false)) m.pacer.note_wake();
        if (m.take_input()) m.pacer.note_input();
        if (m.pacer.next(m.now()).draw) GS_TRY_VOID(m.frame(draw));
        std::this_thread::sleep_for(std::chrono::duration<double>(kLookEvery));
        if (m.window) m.window->poll();
    }
    return int(m.n_frames - before);
}

void Shell::wake() {
    if (!m_impl->woken.exchange(true) && m_impl->window) Window::post_wake();
}

gs::Result<Picture> Shell::picture() { return m_impl->frames->read_back(); }

gs::Result<void> Shell::screenshot(const std::filesystem::path& path) {
    GS_TRY(const Picture drawn, picture());
    return write_png(drawn, path);
}

void Shell::set_theme(ThemeKind theme) {
    m_impl->restyle = m_impl->restyle || theme != m_impl->theme;
    m_impl->theme = theme;
    m_impl->pacer.note_wake();
}
void Shell::set_scale(float scale) {
    m_impl->asked_scale = scale;
    m_impl->pacer.note_input();
}
ThemeKind Shell::theme() const { return m_impl->theme; }
float Shell::scale() const { return m_impl->scale; }
void Shell::toggle_full_screen() {
    if (m_impl->window) m_impl->window->toggle_full_screen();
}
void Shell::set_title(const std::string& title) {
    if (m_impl->window) m_impl->window->set_title(title);
}
HeatmapRenderer& Shell::heatmaps() { return *m_impl->heatmaps; }
std::shared_ptr<gs::RoutingViewer> Shell::viewer() const { return m_impl->shared; }
const Fonts& Shell::fonts() const { return m_impl->imgui->fonts(); }
Settings& Shell::settings() { return m_impl->settings; }
const FrameStats& Shell::stats() const { return m_impl->stats; }
void Shell::restart_stats() { m_impl->stats.restart(); }
int Shell::validation_messages() const { return m_impl->gpu->validation_messages(); }
std::string Shell::device_name() const { return m_impl->gpu->properties().deviceName; }

}  // namespace app
