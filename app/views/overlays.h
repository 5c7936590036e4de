// What stands beside the panels: messages that stay until dismissed, the question before a model is loaded, settings.
#pragma once

#include <optional>
#include <string>

#include "app/views/view.h"

namespace app {

/// Rows under the top bar, one a message; nothing is drawn over data. Call inside a window that is as tall as notices_height().
void draw_notices(ViewContext& context);
float notices_height(const gs::SessionState& state);

/// What loading would cost, and the choice; open while SessionState::estimate is set.
class LoadDialog {
public:
    void draw(ViewContext& context);

private:
    bool m_open = false;
};

/// Whether the estimate fits: empty, or why not, with both numbers.
std::string refusal(const gs::ModelEstimate& estimate);

/// Theme and scale belong to the shell: what the user asked for comes back.
struct Appearance {
    std::string theme;  ///< "dark", "light", "contrast"
    float scale = 1;
};
inline constexpr float kMinScale = 0.75f, kMaxScale = 3.0f;
inline constexpr float kScales[] = {0.75f, 1, 1.25f, 1.5f, 1.75f, 2, 2.5f, 3};

/// ImGui::Begin of a small window over the panels, centred when it appears, never larger than the screen; End() follows in any case.
bool begin_overlay(const char* title, bool& open, float width);

/// A window of its own, closed by default. The new appearance when it was changed.
std::optional<Appearance> draw_settings(ViewContext& context, const Appearance& now, bool& open);
void draw_about(bool& open);

}  // namespace app
