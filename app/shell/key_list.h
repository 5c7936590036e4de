// The list of all keys, by group, where each can be changed.
#pragma once

#include <string>

#include "app/shell/commands.h"

namespace app {

class KeyList {
public:
    bool open = false;
    /// A key is being waited for: the shortcuts do nothing meanwhile.
    bool is_waiting() const { return !m_waiting_id.empty(); }
    void draw(CommandTable& commands, ViewContext& context);

private:
    void draw_row(CommandTable& commands, const Command& command);
    void draw_waiting(CommandTable& commands, ViewContext& context);
    std::optional<KeyBinding> wanted_key(const Command& command, ViewContext& context);

    std::string m_filter, m_waiting_id;              ///< command whose next key is wanted
    KeyBinding m_taken;                              ///< pressed for it, but another command has it: the question stands
    KeyHold m_modifier;                              ///< held by itself for a command that takes such
};

}  // namespace app
