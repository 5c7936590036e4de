// The whole window without window or graphics device: AppUi on the null back end with hand-made or real session states, mouse and keys
// injected.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "app/shell/app_ui.h"
#include "app/shell/input_script.h"
#include "app/shell/theme.h"
#include "app/widgets/heatmap_renderer.h"
#include "imgui_internal.h"
#include "tests/app/panels_fixture.h"
#include "tests/support/make_trace.h"

namespace app::test {

class WindowStage {
public:
    explicit WindowStage(ImVec2 size = {1280, 720}, float scale = 1, gs::SessionOptions options = {});
    ~WindowStage();
    WindowStage(const WindowStage&) = delete;

    /// Draws `state`, or the session's own once `live` is set.
    void frames(int n = 4);
    void play(const InputScript& script);
    void resize(ImVec2 size) { m_size = size; }
    void key(ImGuiKeyChord chord) { play(InputScript().press(chord)); }
    void type(const std::string& text) { play(InputScript().type(text)); }

    /// A point on the item with that id in a panel's window (its id path from the window); fails the test when there is none.
    ImVec2 find(const char* window, std::initializer_list<const char*> path);
    /// The same for an item whose id is known.
    ImVec2 find(const char* window, ImGuiID id);
    /// Clicks on the key of a command in the list of keys, which is open and shows it, so that it waits for another one.
    void click_key_of(const char* command);
    void click(const char* window, std::initializer_list<const char*> path) { play(InputScript().click(find(window, path))); }
    bool is_drawn(const char* window) const;  ///< its content was drawn in the last frame (a tab in front)
    int n_vertices() const;

    gs::Session session;
    gs::SessionState state;
    bool live = false;
    ViewSettings settings;
    Appearance appearance;
    std::unique_ptr<HeatmapRenderer> heatmaps;
    std::unique_ptr<AppUi> ui;

private:
    ImVec2 m_size;
    double m_time = 0;
};

/// A finished run of a synthetic trace, as a session would show it.
std::shared_ptr<gs::RunResult> make_run(gs::TraceSnapshot trace, uint64_t id, std::string text = "a llama is an animal");
std::shared_ptr<gs::ModelCard> make_card(const gs::TraceSnapshot& trace);

/// A panel with a model and what was measured of it, or nothing yet: `field` of the state.
template <class T>
struct MeasuredStage : PanelStage {
    MeasuredStage(std::shared_ptr<const T> gs::SessionState::*field, std::shared_ptr<const T> measured, ImVec2 size) : PanelStage(gs::test::make_trace(), size) {
        auto card = make_card(state.run->trace);
        if (measured) card->hash = measured->model_hash;
        state.model = card;
        state.*field = std::move(measured);
    }
};

}  // namespace app::test
