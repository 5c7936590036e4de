// The card beside the pointer: name, exact values with units (ux.md R11).
#pragma once

#include <string_view>

namespace app {

/// Rows of one card, drawn at the pointer. Use inside one scope:
///   HoverCard card("token 12"); card.row("entropy", "1.23 nats");
class HoverCard {
public:
    explicit HoverCard(std::string_view title);
    ~HoverCard();
    HoverCard(const HoverCard&) = delete;
    HoverCard& operator=(const HoverCard&) = delete;
    void row(const char* label, std::string_view value);
    void note(std::string_view text);

private:
    bool m_open = false;
};

}  // namespace app
