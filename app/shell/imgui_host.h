// Dear ImGui and ImPlot with their back ends: contexts, fonts, theme.
#pragma once

#include <memory>

#include "app/shell/fonts.h"
#include "app/shell/theme.h"
#include "app/widgets/gpu_device.h"

struct GLFWwindow;

namespace app {

class ImGuiHost {
public:
    /// window: null when headless. pass: the one that frames are drawn in. Errors: "font_missing", kDevice.
    static gs::Result<std::unique_ptr<ImGuiHost>> create(const GpuDevice& gpu, VkRenderPass pass, GLFWwindow* window);
    ~ImGuiHost();
    ImGuiHost(const ImGuiHost&) = delete;
    ImGuiHost& operator=(const ImGuiHost&) = delete;

    /// Up to ImGui::NewFrame(). Headless: a display of that size, and 1/60 s a frame, so that pictures do not depend on speed.
    void new_frame(int width_px, int height_px);
    void record(VkCommandBuffer commands);
    /// A Vulkan failure inside ImGui's back end since the last call.
    gs::Result<void> take_failure();
    const Fonts& fonts() const { return m_fonts; }

    static constexpr double kHeadlessFrameSeconds = 1.0 / 60;

private:
    explicit ImGuiHost(const GpuDevice& gpu) : m_gpu(gpu) {}

    const GpuDevice& m_gpu;
    Fonts m_fonts;
    bool m_has_window = false, m_has_vulkan = false;
};

}  // namespace app
