// Everything that is drawn in one frame: menu, fixed bars, docked panels, dialogs, shortcuts. Knows no window and no graphics device, so
// that the window, the screenshot and the tests draw the very same thing.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/shell/between_frames.h"
#include "app/shell/bookmarks.h"
#include "app/shell/command_palette.h"
#include "app/shell/commands.h"
#include "app/shell/key_list.h"
#include "app/shell/panel_picture.h"
#include "app/shell/parameter_history.h"
#include "app/shell/presets.h"
#include "app/shell/state_line.h"
#include "app/views/overlays.h"
#include "app/views/view.h"
#include "app/widgets/file_dialog.h"

namespace app {

/// Changes with the panels and their places: a layout that was saved under another one is built anew (ux.md R5).
int64_t layout_version();

/// A layout as the user left it.
struct Arrangement {
    std::vector<std::string> open;         ///< ids of the panels that are shown
    std::string docking;                   ///< where panels stand: Dear ImGui's settings of them, as text
    bool operator==(const Arrangement&) const = default;
};
/// Which layout is in force, the panels of it that are shown, and how the others were left; kept in the settings. Where the panels of the one in
/// force stand is in Dear ImGui's settings (layout.ini).
struct LayoutState {
    LayoutKind layout = LayoutKind::kExplore;
    std::vector<std::string> open;
    std::map<LayoutKind, Arrangement> others{};   ///< those that were left; any other comes as it was delivered
};
const char* name_of(LayoutKind layout);          ///< "explore", "teach", "tune": settings, --layout, state lines
/// False if there is no such layout; `layout` is left alone then.
bool parse_layout(std::string_view name, LayoutKind& layout);

/// What the drawing asks of whoever owns the window.
struct UiRequests {
    bool quit = false, full_screen = false;
    std::optional<Appearance> appearance;
    std::optional<PanelPicture> picture;   ///< to be drawn and saved between this frame and the next
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

    /// By kind: a model is asked about first, a recorded run is shown, a text file becomes the prompt, or a sample where a panel takes such. Problems become notices.
    void open_path(const std::filesystem::path& path);
    /// Only this panel, over the whole window. False if there is none of that id.
    bool show_only(const std::string& view_id);
    /// Another layout, as the user left it, or as it was delivered; from the next frame on.
    void set_layout(LayoutKind layout);
    /// The one in force as it was delivered; the others are left alone.
    void reset_layout();
    LayoutState layout_state() const;
    void set_layout_state(const LayoutState& state);
    /// Opens a panel if it is closed and brings it to the front of its tabs, without taking the keyboard.
    void raise(const std::string& view_id);
    bool is_open(const std::string& view_id) const;
    /// Own presets and bookmarks are read from here and kept here; empty: only the delivered presets, nothing is kept.
    void set_folder(const std::filesystem::path& folder);
    /// What is on screen, as it can be restored.
    StateLine current_state(const gs::SessionState& now) const;
    /// Shows a state again: runs its prompt under its policy when it is not on screen yet. model_comes: one is being loaded. Errors: those of
    /// parse_state_line; nothing is changed then.
    gs::Result<void> restore(const std::string& line, bool model_comes = false);
    Pick& selected() { return m_selected; }
    WhatIfCache& what_if() { return m_what_if; }
    CommandTable& commands() { return m_commands; }

private:
    struct Panel {
        const ViewRow* row;
        std::unique_ptr<View> view;
        std::string title;  ///< "Heatmap###heatmap"
        bool shown = true;
    };
    void new_state(const gs::SessionState& state);
    void draw_menu(ViewContext& context);
    void draw_bar(ViewContext& context, Panel& panel, bool at_top);
    void draw_notice_bar(ViewContext& context);
    void draw_panels(ViewContext& context);
    void draw_single(ViewContext& context, Panel& panel);
    void draw_dialogs(ViewContext& context);
    void build_layout();
    void raise_when_docked();
    void ask_open(const gs::SessionState& state);
    void ask_save(const gs::SessionState& state);
    void ask_text(const gs::SessionState& state);
    void add_study_text(const std::filesystem::path& path);
    /// format: one of kExportFormats.
    void ask_export(const gs::SessionState& state, const char* format);
    /// Opens the dialog for a file to write; the name proposes one.
    void ask_save_as(const char* title, const std::string& name);
    void file_chosen(const std::filesystem::path& path);
    // app_history.cpp
    void draw_history(ViewContext& context);
    void go_in_history(ViewContext& context, size_t step);
    // app_layout.cpp
    void show_panels(const std::vector<std::string>& ids);
    std::optional<Arrangement> arrangement() const;
    std::string docking() const;
    void read_docking();
    // app_save_picture.cpp
    void draw_tab_menu(ViewContext& context, const Panel& panel);
    void draw_picture_dialog(ViewContext& context);
    Panel* panel_of(const std::string& view_id);
    bool is_in_front(const Panel& panel) const;
    // app_commands.cpp
    void add_commands();
    void add_file_commands();
    void add_run_commands();
    void add_routing_commands();
    void add_selection_commands();
    void add_view_commands();
    void add_panel_commands();
    void add_state_commands();
    // app_state.cpp
    void restore(const StateLine& state, const gs::SessionState& now, bool model_comes);
    void show_panels(const StateLine& state);
    void settle_state(const gs::SessionState& now);
    void copy_state(ViewContext& context);
    void paste_state(ViewContext& context);
    void say(const ViewContext& context, const std::string& text);
    void draw_said(ViewContext& context);
    void set_bookmark(ViewContext& context, int slot);
    void go_to_bookmark(ViewContext& context, int slot);
    void read_all_presets();
    void open_preset(ViewContext& context, const Preset& preset);
    // app_gallery.cpp
    bool draw_preset(ViewContext& context, const Preset& preset);
    void draw_save_preset(ViewContext& context);
    void draw_gallery(ViewContext& context);
    void draw_bookmarks(ViewContext& context);
    // app_flash.cpp
    const std::shared_ptr<const gs::RunResult>& settle_flash(const gs::SessionState& state);
    void draw_flash(ViewContext& context);
    void say_how_to_flash(const ViewContext& context);
    // app_keys.cpp
    bool takes_keys() const;
    double run_held_keys();
    void handle_keys(ViewContext& context);
    void toggle_run(ViewContext& context);
    void start_run(ViewContext& context);
    void toggle_panel(Panel& panel);
    void set_rule(ViewContext& context, gs::GateRule rule, int k);
    void focus_panel();
    void move_token(ViewContext& context, int by);
    void move_layer(ViewContext& context, int by);
    void set_theme(const char* theme) { m_requests.appearance = Appearance{theme, m_appearance.scale}; }
    void pin(bool swap);
    void zoom(int direction);

    gs::Session& m_session;
    HeatmapRenderer& m_heatmaps;
    ViewSettings& m_settings;
    std::vector<Panel> m_panels;
    Panel* m_single = nullptr;
    Pick m_selected, m_hovered, m_hovered_next;
    WhatIfCache m_what_if;
    ParameterHistory m_history;
    WhatIfCache m_flash_trace;               ///< in place of it while the pinned run is flashed
    bool m_flash_held = false, m_flashes = false, m_flash_explained = false;
    std::vector<std::string> m_zoom_before;  ///< of every panel, while it is flashed
    CommandTable m_commands;
    CommandPalette m_palette;
    KeyList m_key_list;
    Appearance m_appearance;
    LayoutKind m_layout = LayoutKind::kExplore;
    std::map<LayoutKind, Arrangement> m_left_layouts;
    std::string m_docking;               ///< to be read before the next frame; "": nothing
    unsigned m_dockspace = 0;            ///< once it has been drawn
    BetweenFrames m_between_frames{[this] { read_docking(); }};
    std::vector<std::string> m_raise;    ///< panels that come to the front once they are docked
    int m_raise_frames = 0;
    FileDialog m_file_dialog;
    bool m_dialog_saves = false, m_dialog_adds_text = false, m_dialog_exports = false, m_ask_open = false;
    bool m_takes_texts = false;            ///< in the last frame: where dropped texts go
    LoadDialog m_load_dialog;
    PanelPicture m_picture;                           ///< being asked for while its view is set
    std::optional<PanelPicture> m_picture_to_save;    ///< what the file dialog that is open is for
    UiRequests m_requests;
    std::map<std::string, float> m_bar_heights;
    std::filesystem::path m_last_folder;
    uint64_t m_run_id = 0, m_comparison_run = 0;
    int m_focus_step = 0;            ///< the keyboard goes so many panels on, before the next frame is drawn
    std::pair<uint64_t, int> m_bookmarked_run;    ///< id and tokens of the run whose bookmarks are shown
    bool m_build_layout = false, m_settings_open = false, m_history_open = false, m_about_open = false;
    double m_awake_until = 0;

    /// A state that was asked for, until its run has the token it selects.
    struct PendingState {
        StateLine state;
        uint64_t run_before = 0;
        int idle_frames = 0;
    };
    std::optional<PendingState> m_pending_state;
    std::filesystem::path m_folder;
    std::vector<Preset> m_presets;
    Bookmarks m_bookmarks;
    bool m_gallery_open = false, m_bookmarks_open = false, m_presets_changed = false;
    std::string m_preset_title, m_preset_sentence, m_said;
    double m_said_until = 0;
};

/// ".gguf", ".safetensors", …; the content decides where the name does not. "" if neither tells.
std::string kind_of_file(const std::filesystem::path& path);

}  // namespace app
