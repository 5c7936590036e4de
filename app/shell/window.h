// The GLFW window: its size, scale and what was dropped on it. One at a time; main thread only, except for post_wake().
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/widgets/gpu_device.h"

struct GLFWwindow;

namespace app {

class Window {
public:
    /// Errors (kDevice): "no_display" with GLFW's reason, "no_vulkan" when no driver can draw to this display.
    static gs::Result<std::unique_ptr<Window>> create(const std::string& title, int width_px, int height_px);
    ~Window();
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    GLFWwindow* handle() const { return m_handle; }
    /// What the Vulkan device needs to draw to this window.
    void add_to(GpuOptions& options) const;

    bool should_close() const;
    void set_should_close(bool close);
    bool minimised() const;
    void framebuffer_size(int& width_px, int& height_px) const;
    /// 1 at 96 dpi.
    float content_scale() const;
    double shortest_frame_seconds() const;       ///< from the monitor's refresh rate

    void poll();
    /// Waits for events; forever if seconds < 0.
    void wait(double seconds);
    /// True once after something that needs a frame though ImGui saw no input: exposed, resized, focus, scale, drop.
    bool take_dirty();
    /// Ends a wait(); from any thread.
    static void post_wake();
    void set_title(const std::string& title);
    void toggle_full_screen();

    std::function<void(std::vector<std::filesystem::path>)> on_drop;

private:
    Window() = default;
    void install_callbacks();

    GLFWwindow* m_handle = nullptr;
    bool m_dirty = true;
    int m_windowed[4] = {0, 0, 0, 0};            ///< place and size before full screen
};

}  // namespace app
