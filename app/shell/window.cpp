#include "app/shell/window.h"

#include <algorithm>

#define GLFW_INCLUDE_NONE
#include <GLFW/glfw3.h>

namespace app {

static gs::Error display_error(const char* code, const char* what, const char* fallback_why) {
    const char* reason = nullptr;
    glfwGetError(&reason);
    return {gs::ErrorKind::kDevice, code, what, reason ? reason : fallback_why,
            "Without a display, use the commands: gatescope run, sweep, screenshot (gatescope --help)"};
}

gs::Result<std::unique_ptr<Window>> Window::create(const std::string& title, int width_px, int height_px) {
    if (!glfwInit()) return display_error("no_display", "Cannot open a window", "no display was found");
    std::unique_ptr<Window> window(new Window);                 // from here on its end also ends GLFW
    if (!glfwVulkanSupported()) return display_error("no_vulkan", "Cannot open a window", "no Vulkan driver was found");
    glfwWindowHint(GLFW_CLIENT_API, GLFW_NO_API);
    window->m_handle = glfwCreateWindow(width_px, height_px, title.c_str(), nullptr, nullptr);
    if (!window->m_handle) return display_error("no_display", "Cannot open a window", "the display refused it");
    constexpr int kSmallestWidth = 480, kSmallestHeight = 320;
    glfwSetWindowSizeLimits(window->m_handle, kSmallestWidth, kSmallestHeight, GLFW_DONT_CARE, GLFW_DONT_CARE);
    window->install_callbacks();
    return window;
}

Window::~Window() {
    if (m_handle) glfwDestroyWindow(m_handle);
    glfwTerminate();
}

void Window::install_callbacks() {
    glfwSetWindowUserPointer(m_handle, this);
    static const auto dirty = [](GLFWwindow* w) { static_cast<Window*>(glfwGetWindowUserPointer(w))->m_dirty = true; };
    glfwSetWindowRefreshCallback(m_handle, [](GLFWwindow* w) { dirty(w); });
    glfwSetFramebufferSizeCallback(m_handle, [](GLFWwindow* w, int, int) { dirty(w); });
    glfwSetWindowFocusCallback(m_handle, [](GLFWwindow* w, int) { dirty(w); });
    glfwSetWindowIconifyCallback(m_handle, [](GLFWwindow* w, int) { dirty(w); });
    glfwSetWindowContentScaleCallback(m_handle, [](GLFWwindow* w, float, float) { dirty(w); });
    glfwSetDropCallback(m_handle, [](GLFWwindow* w, int n, const char** paths) {
        dirty(w);
        Window& self = *static_cast<Window*>(glfwGetWindowUserPointer(w));
        if (self.on_drop) self.on_drop({paths, paths + n});
    });
}

void Window::add_to(GpuOptions& options) const {
    uint32_t count = 0;
    const char** names = glfwGetRequiredInstanceExtensions(&count);
    options.instance_extensions.assign(names, names + count);
    options.make_surface = [handle = m_handle](VkInstance instance, VkSurfaceKHR* surface) {
        return glfwCreateWindowSurface(instance, handle, nullptr, surface);
    };
}

bool Window::should_close() const { return glfwWindowShouldClose(m_handle); }
void Window::set_should_close(bool close) { glfwSetWindowShouldClose(m_handle, close); }
bool Window::minimised() const {
    int width = 0, height = 0;
    glfwGetFramebufferSize(m_handle, &width, &height);
    return width == 0 || height == 0 || glfwGetWindowAttrib(m_handle, GLFW_ICONIFIED);
}
void Window::framebuffer_size(int& width_px, int& height_px) const { glfwGetFramebufferSize(m_handle, &width_px, &height_px); }

float Window::content_scale() const {
    float x = 1, y = 1;
    glfwGetWindowContentScale(m_handle, &x, &y);
    return x;
}

double Window::shortest_frame_seconds() const {
    GLFWmonitor* monitor = glfwGetPrimaryMonitor();
    const GLFWvidmode* mode = monitor ? glfwGetVideoMode(monitor) : nullptr;
    const int refresh_hz = mode && mode->refreshRate > 0 ? mode->refreshRate : 60;
    return 0.9 / refresh_hz;                                    // a little less than a period: vsync itself does the fine timing
}

void Window::poll() { glfwPollEvents(); }
void Window::wait(double seconds) {
    if (seconds < 0) glfwWaitEvents();
    else glfwWaitEventsTimeout(std::max(seconds, 0.0005));
}
bool Window::take_dirty() { return std::exchange(m_dirty, false); }
void Window::post_wake() { glfwPostEmptyEvent(); }
void Window::set_title(const std::string& title) { glfwSetWindowTitle(m_handle, title.c_str()); }

void Window::toggle_full_screen() {
    if (glfwGetWindowMonitor(m_handle)) {
        glfwSetWindowMonitor(m_handle, nullptr, m_windowed[0], m_windowed[1], m_windowed[2], m_windowed[3], 0);
        return;
    }
    GLFWmonitor* monitor = glfwGetPrimaryMonitor();
    const GLFWvidmode* mode = monitor ? glfwGetVideoMode(monitor) : nullptr;
    if (!mode) return;
    glfwGetWindowPos(m_handle, &m_windowed[0], &m_windowed[1]);
    glfwGetWindowSize(m_handle, &m_windowed[2], &m_windowed[3]);
    glfwSetWindowMonitor(m_handle, monitor, 0, 0, mode->width, mode->height, mode->refreshRate);
}

}  // namespace app
