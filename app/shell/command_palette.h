// Ctrl+Shift+P: any command by a few letters of its name.
#pragma once

#include <string>
#include <vector>

#include "app/shell/commands.h"

namespace app {

class CommandPalette {
public:
    void open() { m_open_asked = true; }
    bool is_open() const { return m_is_open; }
    /// Every frame. The id of the command that was chosen, once; "" otherwise.
    std::string draw(const CommandTable& commands, const ViewContext& context);
    /// Best first; with an empty query those used last and then all in their order.
    std::vector<const Command*> matches(const CommandTable& commands) const;

private:
    std::string draw_list(const std::vector<const Command*>& shown, const ViewContext& context);
    void remember(const std::string& id);

    std::string m_query;
    std::vector<std::string> m_recent;               ///< newest first
    int m_at = 0;
    bool m_open_asked = false, m_is_open = false, m_scroll = false;
};

}  // namespace app
