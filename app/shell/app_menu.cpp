// The menu bar: which commands stand in which menu. Titles, keys and notes are the table's.
#include <array>
#include <string_view>

#include "app/shell/app_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// A command's id; "-": a line; "panel.*": all that begin so.
struct Menu {
    const char* title;
    std::array<const char*, 24> items;
};
constexpr Menu kMenus[] = {
    {"File###file", {"file.open", "file.save_run", "export.*", "file.save_picture", "-", "state.copy", "state.paste", "-", "file.settings", "-", "file.quit"}},
    {"Edit###edit", {"edit.undo", "edit.redo", "edit.history", "-", "selection.clear"}},
    {"Run###run_menu", {"run.toggle", "run.step", "run.restart", "run.restart_engine", "-", "run.pin", "run.flash_pinned", "run.swap_pinned", "run.unpin", "-", "rule.native", "rule.soft", "rule.hard", "rule.topk"}},
    {"View###view_menu", {"layout.explore", "layout.teach", "layout.tune", "layout.reset", "-", "panel.*", "-", "theme.dark", "theme.light", "theme.contrast", "-",
                          "view.larger", "view.smaller", "view.normal", "view.full_screen", "view.fit"}},
    {"Presets###presets_menu", {"presets.gallery", "-", "preset.*"}},
    {"Bookmarks###bookmarks_menu", {"bookmarks.list", "-", "bookmark.go.*", "-", "bookmark.set.*"}},
    {"Help###help", {"help.palette", "help.keys", "help.about"}},
};

/// True when it was chosen.
bool menu_item(const Command& command, const ViewContext& context) {
    const std::string keys = command.keys_text(/*first_only=*/true);
    const std::string text = command.title + "###" + command.id;
    const bool chosen = ImGui::MenuItem(text.c_str(), keys.c_str(), command.is_checked(context), command.is_enabled(context));
    if (!command.note.empty()) tooltip(command.note.c_str());
    return chosen;
}

}  // namespace

void AppUi::draw_menu(ViewContext& context) {
    if (!ImGui::BeginMainMenuBar()) return;
    const Command* chosen = nullptr;
    for (const Menu& menu : kMenus) {
        if (!ImGui::BeginMenu(menu.title)) continue;
        for (const char* const item : menu.items) {
            if (!item) break;
            const std::string_view id = item;
            if (id == "-") ImGui::Separator();
            for (const Command& command : m_commands.all())
                if (id.ends_with('*') ? command.id.starts_with(id.substr(0, id.size() - 1)) : command.id == id)
                    if (menu_item(command, context)) chosen = &command;
        }
        ImGui::EndMenu();
    }
    ImGui::EndMainMenuBar();
    if (chosen) chosen->run(context);
}

}  // namespace app
