// What can be done about an expert where it is seen: the menu of a right click, the same in every panel.
//
//   if (hit.context_menu) m_menu.open({token, moe_layer, expert});
//   m_menu.draw(context);                       // once a frame, anywhere in the panel
#pragma once

#include "app/views/view.h"

namespace app {

/// At the end of a hover card over what has the menu.
inline constexpr const char* kExpertMenuHint = "Right-click: take an expert out";

/// Zero, route around and swap as changes of the routing in force, each a step that Ctrl+Z takes back, and the way into the ablation panel's set. A pick
/// without an expert: a submenu for each expert that its token uses in its layer. Inside a menu that is open; a pick without a layer adds nothing.
void expert_menu_items(ViewContext& context, const Pick& pick);

/// A popup with these items and nothing else.
class ExpertMenu {
public:
    void open(const Pick& pick) { m_pick = pick, m_opens = true; }
    void draw(ViewContext& context);

private:
    Pick m_pick;
    bool m_opens = false;
};

}  // namespace app
