#include "app/shell/between_frames.h"

#include "imgui_internal.h"

namespace app {

BetweenFrames::BetweenFrames(std::function<void()> call) : m_call(std::move(call)), m_context(ImGui::GetCurrentContext()) {
    ImGuiContextHook hook;
    hook.Type = ImGuiContextHookType_NewFramePre;
    hook.UserData = this;
    hook.Callback = [](ImGuiContext*, ImGuiContextHook* called) { static_cast<BetweenFrames*>(called->UserData)->m_call(); };
    m_hook = ImGui::AddContextHook(m_context, &hook);
}

BetweenFrames::~BetweenFrames() { ImGui::RemoveContextHook(m_context, m_hook); }

}  // namespace app
