// Buffers and images with their memory; freed at the end of their life. The caller makes sure that the device no longer uses them then
// (GpuDevice::wait_idle, or the frame's fence).
#pragma once

#include <span>

#include "app/widgets/gpu_device.h"

namespace app {

/// Mapped for its whole life and coherent: write through data(). Sits in device memory where the host can write that.
class GpuBuffer {
public:
    /// Errors: those of vulkan_error.
    static gs::Result<GpuBuffer> create(const GpuDevice& gpu, VkDeviceSize size_bytes, VkBufferUsageFlags usage);
    GpuBuffer() = default;
    ~GpuBuffer() { reset(); }
    GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
    GpuBuffer& operator=(GpuBuffer&& other) noexcept;
    void reset();

    VkBuffer handle() const { return m_handle; }
    std::span<std::byte> data() const { return {static_cast<std::byte*>(m_mapped), size_t(m_size)}; }
    explicit operator bool() const { return m_handle != VK_NULL_HANDLE; }

private:
    VkDevice m_device = VK_NULL_HANDLE;
    VkBuffer m_handle = VK_NULL_HANDLE;
    VkDeviceMemory m_memory = VK_NULL_HANDLE;
    void* m_mapped = nullptr;
    VkDeviceSize m_size = 0;
};

/// The one format of everything that we draw: 8 bits a channel, no sRGB conversion, so that colours arrive as the tables have them.
inline constexpr VkFormat kTargetFormat = VK_FORMAT_B8G8R8A8_UNORM;

/// A colour image to draw into, with its view and framebuffer.
class GpuImage {
public:
    static gs::Result<GpuImage> create(const GpuDevice& gpu, VkRenderPass pass, uint32_t width_px, uint32_t height_px);
    GpuImage() = default;
    ~GpuImage() { reset(); }
    GpuImage(GpuImage&& other) noexcept { *this = std::move(other); }
    GpuImage& operator=(GpuImage&& other) noexcept;
    void reset();

    VkImage handle() const { return m_handle; }
    VkImageView view() const { return m_view; }
    VkFramebuffer framebuffer() const { return m_framebuffer; }
    VkExtent2D extent() const { return m_extent; }
    explicit operator bool() const { return m_handle != VK_NULL_HANDLE; }

private:
    VkDevice m_device = VK_NULL_HANDLE;
    VkImage m_handle = VK_NULL_HANDLE;
    VkDeviceMemory m_memory = VK_NULL_HANDLE;
    VkImageView m_view = VK_NULL_HANDLE;
    VkFramebuffer m_framebuffer = VK_NULL_HANDLE;
    VkExtent2D m_extent{};
};

/// A pass that draws into a GpuImage and leaves it in `last`. Passes that differ only in `load` and `last` are compatible.
gs::Result<VkRenderPass> make_render_pass(const GpuDevice& gpu, VkAttachmentLoadOp load, VkImageLayout last);

}  // namespace app
