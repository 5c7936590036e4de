// The table of commands: one row a command. Menus, keys, palette and key list read it; a new one is a row here.
#include <fmt/format.h>

#include "app/shell/app_ui.h"
#include "app/views/policy_edit.h"
#include "app/views/routing_bar.h"

namespace app {

using enum CommandGroup;
using Context = ViewContext&;
using Seen = const ViewContext&;

static bool have_run(Seen c) { return c.state.run && !c.state.run->trace.empty(); }
static bool is_live(Seen c) { return c.state.run && c.state.run->phase != gs::RunPhase::kFinished; }
static bool can_run(Seen c) { return c.state.can_run(); }
static bool has_router(Seen c) { return router_on_screen(c.state).n_experts > 0; }

void AppUi::add_commands() {
    add_file_commands();
    add_run_commands();
    add_routing_commands();
    add_selection_commands();
    add_view_commands();
    add_panel_commands();
    add_state_commands();
    m_commands.add({"help.keys", kHelp, "Keys…", "All keys, and how to change them", "?", [this](Context) { m_key_list.open = true; }});
    m_commands.add({"help.palette", kHelp, "Command palette…", "Find any command by a few letters of its name", "Ctrl+Shift+P", [this](Context) { m_palette.open(); }});
    m_commands.add({"help.about", kHelp, "About Gatescope", "What the program does, and what it is built with", "", [this](Context) { m_about_open = true; }});
}

void AppUi::add_file_commands() {
    m_commands.add({"file.open", kFile, "Open…", "A model (.gguf), a recorded run (.safetensors) or a text as the prompt", "Ctrl+O", [this](Context) { m_ask_open = true; }});
    m_commands.add({"file.save_run", kFile, "Save run as…", "The run on screen with its routing, to be replayed without the model", "Ctrl+Shift+S",
                    [this](Context c) { ask_save(c.state); }, have_run});
    const auto add_export = [this](const char* format, const char* title, const char* note, const char* key) {
        m_commands.add({std::string("export.") + format, kFile, title, note, key, [this, format](Context c) { ask_export(c.state, format); }, have_run});
    };
    add_export("html", "Export a report…", "The run on screen as one HTML page: text, loads, heatmaps, every figure with what chance gives", "Ctrl+E");
    add_export("csv", "Export CSV…", "The run on screen as a table: a row for every expert that a token used", "");
    add_export("json", "Export JSON…", "The run on screen with all it holds, as JSON", "");
    add_export("npz", "Export NumPy arrays…", "The run on screen as arrays that numpy.load opens", "");
    m_commands.add({"file.save_picture", kFile, "Save picture of a panel…", "A panel as PNG, at any size", "", [this](Context) { m_picture.view = "heatmap"; }, have_run});
    m_commands.add({"file.settings", kFile, "Settings…", "Theme, size, colour map", "", [this](Context) { m_settings_open = true; }});
    m_commands.add({"file.quit", kFile, "Quit", "Close the window; settings and layout are kept", "Ctrl+Q", [this](Context) { m_requests.quit = true; }});
    m_commands.add({"edit.undo", kEdit, "Undo", "Takes back the last change of routing, prompt, sampling, texts or what is shown", "Ctrl+Z",
                    [this](Context c) { go_in_history(c, m_history.now() - 1); }, [this](Seen) { return m_history.can_undo(); }});
    m_commands.add({"edit.redo", kEdit, "Redo", "Makes the change that was undone again", "Ctrl+Y Ctrl+Shift+Z",
                    [this](Context c) { go_in_history(c, m_history.now() + 1); }, [this](Seen) { return m_history.can_redo(); }});
    m_commands.add({"edit.history", kEdit, "History…", "Every change you made, as a list to step through", "Ctrl+H", [this](Context) { m_history_open = true; }});
}

void AppUi::add_run_commands() {
    m_commands.add({"run.toggle", kRun, "Run or stop", "Run the prompt; stop it while it runs; go on after a step", "Space", [this](Context c) { toggle_run(c); },
                    [](Seen c) { return is_live(c) || can_run(c); }});
    m_commands.add({"run.step", kRun, "Step", "One token", ".", [this](Context c) { m_session.step(make_request(c)); }, can_run});
    m_commands.add({"run.restart", kRun, "Restart the run", "Run the prompt again from its first token", "R", [this](Context c) { start_run(c); }, can_run});
    const auto is_pinned = [](Seen c) { return c.state.pinned != nullptr; };
    m_commands.add({"run.pin", kRun, "Pin this run as A", "It stays while others come on screen as B, and is compared with them", "P", [this](Context) { pin(false); }, have_run});
    m_commands.add({"run.swap_pinned", kRun, "Swap A and B", "The run on screen becomes the pinned one, and the other way round", "Shift+P", [this](Context) { pin(true); }, is_pinned});
    Command flash{"run.flash_pinned", kRun, "Flash the pinned run", "While the key is held, every panel draws the pinned run A instead of the run on screen", "Shift",
                  [this](Context c) { say_how_to_flash(c); }};
    flash.hold = [this] { m_flash_held = true; };
    m_commands.add(std::move(flash));
    m_commands.add({"run.unpin", kRun, "Unpin", "Compare with the run before again", "", [this](Context) { m_session.unpin(); }, is_pinned});
    m_commands.add({"run.restart_engine", kRun, "Restart the engine", "After a device was lost or had no more memory", "", [this](Context) { m_session.restart_engine(); },
                    [](Seen c) { return c.state.engine_failed; }});
}

void AppUi::add_routing_commands() {
    const auto rule = [this](const char* id, const char* title, const char* note, const char* key, gs::GateRule wanted) {
        m_commands.add({id, kRouting, title, note, key, [this, wanted](Context c) { set_rule(c, wanted, 0); }, has_router,
                        [wanted](Seen c) { return shown_policy(c).rule == wanted; }});
    };
    m_commands.add({"rule.native", kRouting, "Native routing", "As the model was trained: every change taken back", "N",
                    [](Context c) { if (!shown_policy(c).is_native()) apply_policy(c, gs::Policy{}); }, has_router, [](Seen c) { return shown_policy(c).is_native(); }});
    rule("rule.soft", "Soft: all experts", "All experts, weighted by preference: the reference", "S", gs::GateRule::kSoft);
    rule("rule.hard", "Hard: the best expert", "The best expert alone", "H", gs::GateRule::kHard);
    rule("rule.topk", "Top-k", "The best k experts", "T", gs::GateRule::kTopK);
    for (int k = 1; k <= 9; ++k)
        m_commands.add({fmt::format("k.{}", k), kRouting, fmt::format("k = {}", k), fmt::format("Every token uses its best {} expert{} in every layer", k, k > 1 ? "s" : ""),
                        std::to_string(k), [this, k](Context c) { set_rule(c, gs::GateRule::kTopK, k); }, has_router,
                        [k](Seen c) { return shown_policy(c).rule == gs::GateRule::kTopK && shown_policy(c).k == k; }});
}

void AppUi::add_selection_commands() {
    const auto move = [this](const char* id, const char* title, const char* note, const char* keys, void (AppUi::*by)(Context, int), int step) {
        Command command{id, kSelection, title, note, keys, [this, by, step](Context c) { (this->*by)(c, step); }, have_run};
        command.repeats = true;
        m_commands.add(std::move(command));
    };
    move("token.previous", "Previous token", "Select the token before", ", Left", &AppUi::move_token, -1);
    move("token.next", "Next token", "Select the token after", "Right", &AppUi::move_token, 1);
    move("layer.previous", "Previous layer", "Select the layer below", "[", &AppUi::move_layer, -1);
    move("layer.next", "Next layer", "Select the layer above", "]", &AppUi::move_layer, 1);
    m_commands.add({"selection.clear", kSelection, "Clear the selection", "No token, layer or expert; closes the small windows", "Esc", [this](Context) {
                        m_selected = {};
                        m_key_list.open = m_about_open = m_settings_open = m_history_open = m_gallery_open = m_bookmarks_open = false;
                    }});
}

void AppUi::add_view_commands() {
    static constexpr const char* titles[] = {"Explore", "Teach", "Tune"};
    static constexpr const char* notes[] = {"Heatmap, load and gating side by side", "Larger type and fewer panels, for a room or a first lesson",
                                            "What to change: layers, sensitivity, the cheapest k"};
    for (const LayoutKind layout : kLayouts)
        m_commands.add({std::string("layout.") + name_of(layout), kLayout, std::string("Layout: ") + titles[static_cast<size_t>(layout)], notes[static_cast<size_t>(layout)], "",
                        [this, layout](Context) { set_layout(layout); }, {}, [layout](Seen c) { return c.layout == layout; }});
    m_commands.add({"layout.reset", kLayout, "Reset layout", "Panels of this layout as it was delivered; the other layouts stay as you left them", "", [this](Context) { reset_layout(); }});
    m_commands.add({"view.larger", kView, "Larger", "Everything, by one step up to 300 %", "Ctrl+= Ctrl+Shift+= Ctrl+Num+", [this](Context) { zoom(1); }, {}, {}, true});
    m_commands.add({"view.smaller", kView, "Smaller", "Everything, by one step down to 75 %", "Ctrl+- Ctrl+Num-", [this](Context) { zoom(-1); }, {}, {}, true});
    m_commands.add({"view.normal", kView, "Normal size", "100 %", "Ctrl+0 Ctrl+Keypad0", [this](Context) { zoom(0); }});
    m_commands.add({"view.full_screen", kView, "Full screen", "And back", "F11", [this](Context) { m_requests.full_screen = true; }});
    m_commands.add({"view.fit", kView, "Fit the heatmap", "Every cell in sight again", "F", [this](Context) { panel_of("heatmap")->view->set_zoom(""); }});
    m_commands.add({"panel_focus.next", kView, "Next panel", "Gives the keyboard to the next panel; Tab walks through its controls", "F6", [this](Context) { m_focus_step = 1; }});
    m_commands.add({"panel_focus.previous", kView, "Previous panel", "Gives the keyboard to the panel before", "Shift+F6", [this](Context) { m_focus_step = -1; }});
    m_commands.add({"theme.dark", kView, "Dark theme", "Quiet surfaces: the data is the brightest thing", "", [this](Context) { set_theme("dark"); }, {}, [this](Seen) { return m_appearance.theme == "dark"; }});
    m_commands.add({"theme.light", kView, "Light theme", "For projectors and bright rooms", "", [this](Context) { set_theme("light"); }, {}, [this](Seen) { return m_appearance.theme == "light"; }});
    m_commands.add({"theme.contrast", kView, "High-contrast theme", "Black and white with strong edges", "", [this](Context) { set_theme("contrast"); }, {},
                    [this](Seen) { return m_appearance.theme == "contrast"; }});
}

void AppUi::add_panel_commands() {
    for (Panel& panel : m_panels) {
        if (panel.row->places.fixed()) continue;
        const std::string id = panel.row->id;
        m_commands.add({"panel." + id, kPanel, panel.row->title, panel.row->note, id == "compare" ? "C" : "", [this, id](Context) { toggle_panel(*panel_of(id)); }, {},
                        [this, id](Seen) { return panel_of(id)->shown; }});
    }
}

void AppUi::add_state_commands() {
    m_commands.add({"state.copy", kFile, "Copy state as a line", "What is on screen as one line of text: prompt, seed, routing, selection, panels", "Ctrl+S", [this](Context c) { copy_state(c); }});
    m_commands.add({"state.paste", kFile, "Paste a state", "Restore a state line from the clipboard", "Ctrl+V", [this](Context c) { paste_state(c); }});
    m_commands.add({"presets.gallery", kPreset, "Presets…", "Things to see, each with one sentence; and your own", "Ctrl+P", [this](Context) { m_gallery_open = true; }});
    m_commands.add({"bookmarks.list", kBookmark, "Bookmarks…", "Places in this run to come back to, with their names", "Ctrl+B", [this](Context) { m_bookmarks_open = true; }});
    for (int slot = 1; slot <= Bookmarks::kSlots; ++slot)
        m_commands.add({fmt::format("bookmark.go.{}", slot), kBookmark, fmt::format("Go to bookmark {}", slot), "Its token, layer, expert, panel and zoom", fmt::format("Alt+{}", slot),
                        [this, slot](Context c) { go_to_bookmark(c, slot); }, [this, slot](Seen) { return m_bookmarks.at(slot).has_value(); }});
    for (int slot = 1; slot <= Bookmarks::kSlots; ++slot)
        m_commands.add({fmt::format("bookmark.set.{}", slot), kBookmark, fmt::format("Set bookmark {}", slot), "Keeps the selection, the panel in front and the zoom", fmt::format("Ctrl+{}", slot),
                        [this, slot](Context c) { set_bookmark(c, slot); }, have_run});
}

}  // namespace app
