// Something that Dear ImGui allows between two frames only, for code that runs within them.
#pragma once

#include <functional>

struct ImGuiContext;

namespace app {

class BetweenFrames {
public:
    /// Calls it when the next frames of the current context begin, before anything else, until this object goes.
    explicit BetweenFrames(std::function<void()> call);
    ~BetweenFrames();
    BetweenFrames(const BetweenFrames&) = delete;
    BetweenFrames& operator=(const BetweenFrames&) = delete;

private:
    std::function<void()> m_call;
    ImGuiContext* m_context;
    unsigned m_hook;
};

}  // namespace app
