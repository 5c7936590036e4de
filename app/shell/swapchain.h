// The images of a window. Frames are drawn into an image of our own and copied here, so that a window and a screenshot are the same
// picture.
#pragma once

#include <vector>

#include "app/widgets/gpu_device.h"

namespace app {

class Swapchain {
public:
    explicit Swapchain(const GpuDevice& gpu) : m_gpu(gpu) {}
    ~Swapchain();
    Swapchain(const Swapchain&) = delete;
    Swapchain& operator=(const Swapchain&) = delete;

    /// For the surface's present size (width_px x height_px where the surface leaves that open). The device is idle. False: the surface has
    /// no area now (minimised); keep the old images and try later. Errors: kDevice "no_surface_format", those of vulkan_error.
    gs::Result<bool> make(uint32_t width_px, uint32_t height_px);
    VkExtent2D extent() const { return m_extent; }

    /// Takes the next image; false: out of date, make() again.
    gs::Result<bool> acquire();
    /// Records the copy of `source` (in TRANSFER_SRC layout, of extent()) into the taken image.
    void record_copy(VkCommandBuffer commands, VkImage source) const;
    VkSemaphore acquired() const { return m_acquired; }
    VkSemaphore copied() const { return m_copied[m_index]; }
    /// False: out of date, make() again.
    gs::Result<bool> present();

private:
    gs::Result<VkSurfaceFormatKHR> choose_format() const;
    gs::Result<void> make_semaphores();
    void destroy_semaphores();

    const GpuDevice& m_gpu;
    VkSwapchainKHR m_handle = VK_NULL_HANDLE;
    VkFormat m_format = VK_FORMAT_UNDEFINED;
    VkExtent2D m_extent{};
    std::vector<VkImage> m_images;
    std::vector<VkSemaphore> m_copied;           ///< one an image: presentation may hold on to it until the image comes back
    VkSemaphore m_acquired = VK_NULL_HANDLE;
    uint32_t m_index = 0;
};

}  // namespace app
