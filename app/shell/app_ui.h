// Everything that is drawn in one frame: menu, fixed bars, docked panels, dialogs, shortcuts. Knows no window and no graphics device, so
// that the window, the screenshot and the tests draw the very same thing.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/shell/policy_history.h"
#include "app/views/overlays.h"
#include "app/views/view.h"
#include "app/widgets/file_dialog.h"

namespace app {

/// Raised when panels come or go: a saved layout of another version is built anew (ux.md R5).
inline constexpr int kLayoutVersion = 2;

/// What the drawing asks of whoever owns the window.
struct UiRequests {
    bool quit = false;
    std::optional<Appearance> appearance;
};

class AppUi {
public:
    AppUi(gs::Session& session, HeatmapRenderer& heatmaps, ViewSettings& settings);
    ~AppUi();

    /// Between ImGui::NewFrame and ImGui::Render.
    void draw(const gs::SessionState& state, const Theme& theme, const Appearance& appearance, double time_seconds);
    UiRequests take_requests();
    /// Frames are wanted until then (the clock of draw's time_seconds).
    double awake_until() const { return m_awake_until; }

    /// By kind: a model is asked about first, a recorded run is shown, a text file becomes the prompt. Problems become notices.
    void open_path(const std::filesystem::path& path);
    /// Only this panel, over the whole window. False if there is none of that id.
    bool show_only(const std::string& view_id);
    void reset_layout() { m_build_layout = true; }
    /// Brings a panel to the front of its tabs, without taking the keyboard.
    void raise(const std::string& view_id);
    Pick& selected() { return m_selected; }
    WhatIfCache& what_if() { return m_what_if; }
    /// Panels the user closed; kept in the settings.
    std::vector<std::string> hidden_views() const;
    void set_hidden_views(const std::vector<std::string>& ids);

private:
    struct Panel {
        const ViewRow* row;
        std::unique_ptr<View> view;
        std::string title;  ///< "Heatmap###heatmap"
        bool shown = true;
    };
    void new_state(const gs::SessionState& state);
    void draw_menu(ViewContext& context, const Appearance& appearance);
    void draw_file_menu(ViewContext& context);
    void draw_run_menu(ViewContext& context);
    void draw_view_menu(ViewContext& context, const Appearance& appearance);
    void draw_bar(ViewContext& context, Panel& panel, bool at_top);
    void draw_notice_bar(ViewContext& context);
    void draw_panels(ViewContext& context);
    void draw_single(ViewContext& context, Panel& panel);
    void draw_dialogs(ViewContext& context, const Appearance& appearance);
    void build_layout(unsigned dockspace);
    void ask_open(const gs::SessionState& state);
    void ask_save(const gs::SessionState& state);
    // app_keys.cpp
    void handle_keys(ViewContext& context, const Appearance& appearance);
    void handle_chords(ViewContext& context, const Appearance& appearance);
    void handle_characters(ViewContext& context);
    void toggle_run(ViewContext& context);
    void move_token(ViewContext& context, int by);
    void move_layer(ViewContext& context, int by);
    void zoom(const Appearance& appearance, int direction);

    gs::Session& m_session;
    HeatmapRenderer& m_heatmaps;
    ViewSettings& m_settings;
    std::vector<Panel> m_panels;
    Panel* m_single = nullptr;
    Pick m_selected, m_hovered, m_hovered_next;
    WhatIfCache m_what_if;
    PolicyHistory m_history;
    FileDialog m_file_dialog;
    bool m_dialog_saves = false, m_ask_open = false;
    LoadDialog m_load_dialog;
    UiRequests m_requests;
    std::map<std::string, float> m_bar_heights;
    std::filesystem::path m_last_folder;
    uint64_t m_run_id = 0, m_comparison_run = 0;
    bool m_build_layout = false, m_settings_open = false, m_keys_open = false, m_about_open = false;
    double m_awake_until = 0;
};

/// ".gguf", ".safetensors", …; the content decides where the name does not. "" if neither tells.
std::string kind_of_file(const std::filesystem::path& path);

}  // namespace app
