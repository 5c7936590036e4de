// Draws frames, one in flight: always into an off-screen image, which a window gets a copy of and a screenshot reads back.
#pragma once

#include <functional>
#include <memory>

#include "app/base/picture.h"
#include "app/shell/swapchain.h"
#include "app/widgets/gpu_memory.h"

namespace app {

class FrameRenderer {
public:
    using Record = std::function<void(VkCommandBuffer)>;

    /// Presents to the device's surface if it has one. Errors: those of vulkan_error.
    static gs::Result<std::unique_ptr<FrameRenderer>> create(const GpuDevice& gpu);
    ~FrameRenderer();

    /// The size of the next frames; with a surface, the surface has the last word. False: no area (minimised), nothing can be drawn now.
    gs::Result<bool> resize(uint32_t width_px, uint32_t height_px);
    VkExtent2D extent() const { return m_target.extent(); }
    VkRenderPass pass() const { return m_pass; }

    /// Until the device is done with the frame before: what it used may be changed then.
    gs::Result<void> wait();
    /// `before` records outside, `inside` inside the pass that starts with `clear` (0xRRGGBB). False: the surface is out of date and the
    /// picture was not shown; resize() and draw again.
    gs::Result<bool> draw(uint32_t clear, const Record& before, const Record& inside);
    /// The frame drawn last. Errors: those of vulkan_error.
    gs::Result<Picture> read_back();

private:
    explicit FrameRenderer(const GpuDevice& gpu) : m_gpu(gpu) {}
    gs::Result<void> make();
    gs::Result<void> submit(bool to_window);

    const GpuDevice& m_gpu;
    VkRenderPass m_pass = VK_NULL_HANDLE;
    VkCommandPool m_pool = VK_NULL_HANDLE;
    VkCommandBuffer m_commands = VK_NULL_HANDLE;
    VkFence m_done = VK_NULL_HANDLE;
    bool m_in_flight = false;
    GpuImage m_target;
    std::unique_ptr<Swapchain> m_swapchain;
};

}  // namespace app
