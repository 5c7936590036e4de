// Everything the window can be told to do, once: menus, keys, the palette and the key list all read this table, so that none of them knows
// a command that the others do not.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "app/shell/key_binding.h"

namespace app {

struct ViewContext;

/// Heading in the key list, and the menu that shows it unless kNoMenu.
enum class CommandGroup : uint8_t { kFile, kEdit, kRun, kRouting, kSelection, kView, kPanel, kLayout, kPreset, kBookmark, kHelp };
const char* name_of(CommandGroup group);

struct Command {
    std::string id;                                     ///< "run.toggle": settings, tests
    CommandGroup group = CommandGroup::kFile;
    std::string title, note;                            ///< note: the tooltip; one sentence
    std::string default_keys;                           ///< parse_bindings form; "" none. A modifier by itself only with `hold`
    std::function<void(ViewContext&)> run{};
    std::function<bool(const ViewContext&)> enabled{};  ///< empty: always
    std::function<bool(const ViewContext&)> checked{};  ///< empty: nothing to check
    bool repeats = false;                               ///< while the key is held
    /// Not empty: what its key does, in every frame in which it is held, before anything is drawn; menus and the palette still call `run`.
    std::function<void()> hold{};
    std::vector<KeyBinding> keys{};                     ///< in force
    KeyHold holding{};

    bool is_enabled(const ViewContext& context) const { return !enabled || enabled(context); }
    bool is_checked(const ViewContext& context) const { return checked && checked(context); }
    /// "Ctrl+Y Ctrl+Shift+Z", or its first one only; "hold Shift"; "" when it has none.
    std::string keys_text(bool first_only = false) const;
};

class CommandTable {
public:
    /// ids must differ; keys are the default ones, or those read before.
    void add(Command command);
    /// Those whose id begins with `prefix`; for presets and bookmarks, which come and go.
    void remove(std::string_view prefix);
    const std::vector<Command>& all() const { return m_commands; }
    const Command* find(std::string_view id) const;
    /// The keys of a command as text, for a menu; "" when it has none or does not exist.
    std::string keys_of(std::string_view id) const;

    /// Another command that has one of these keys; null if none.
    const Command* conflict(std::string_view id, const KeyBinding& key) const;
    /// Takes the key away from whoever has it. An empty binding leaves the command without any.
    void bind(std::string_view id, const KeyBinding& key);
    void reset_keys(std::string_view id);
    void reset_all_keys();
    bool is_default(const Command& command) const;

    /// Only what differs from the defaults: {"run.toggle": "Space"}. Reading ignores what names no key.
    nlohmann::json changed_keys() const;
    void read_keys(const nlohmann::json& keys);

    /// The command whose key is pressed in this frame; null if none. Disabled ones do not count.
    const Command* pressed(const ViewContext& context) const;
    /// Once a frame, before anything is drawn: calls `hold` of those whose key is held. listens: false while something else has the keyboard.
    /// Seconds until a key that is down will count as held; 0: none is waited for.
    double run_held(bool listens);

private:
    Command* change(std::string_view id);
    static std::vector<KeyBinding> keys_from(const Command& command, std::string_view text);
    void take_away(const KeyBinding& key, std::string_view except);
    std::vector<Command> m_commands;
    nlohmann::json m_read = nlohmann::json::object();    ///< also of commands that are not there (yet)
};

/// How well `query` fits: its letters in order, better at the beginnings of words and side by side. 0 = does not fit; an empty query fits
/// everything equally.
int fuzzy_score(std::string_view query, std::string_view text);

}  // namespace app
