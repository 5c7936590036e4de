#include "app/shell/swapchain.h"

#include <algorithm>

#include "app/widgets/gpu_memory.h"

namespace app {

Swapchain::~Swapchain() {
    destroy_semaphores();
    if (m_handle) vkDestroySwapchainKHR(m_gpu.handle(), m_handle, nullptr);
}

void Swapchain::destroy_semaphores() {
    for (VkSemaphore semaphore : m_copied) vkDestroySemaphore(m_gpu.handle(), semaphore, nullptr);
    m_copied.clear();
    if (m_acquired) vkDestroySemaphore(m_gpu.handle(), m_acquired, nullptr);
    m_acquired = VK_NULL_HANDLE;
}

gs::Result<VkSurfaceFormatKHR> Swapchain::choose_format() const {
    uint32_t count = 0;
    GS_VK(vkGetPhysicalDeviceSurfaceFormatsKHR(m_gpu.physical(), m_gpu.surface(), &count, nullptr));
    std::vector<VkSurfaceFormatKHR> formats(count);
    GS_VK(vkGetPhysicalDeviceSurfaceFormatsKHR(m_gpu.physical(), m_gpu.surface(), &count, formats.data()));
    // By name, not the first: that is often an sRGB one, which would brighten every colour. A blit turns our order of channels into
    // R8G8B8A8.
    for (VkFormat wanted : {kTargetFormat, VK_FORMAT_R8G8B8A8_UNORM, VK_FORMAT_A8B8G8R8_UNORM_PACK32})
        for (const VkSurfaceFormatKHR& format : formats)
            if (format.format == wanted) return format;
    return gs::Error{gs::ErrorKind::kDevice, "no_surface_format", "This display cannot show our pictures",
                     "it offers no plain 8-bit colour format", "Use `gatescope screenshot`, which needs no display"};
}

gs::Result<bool> Swapchain::make(uint32_t width_px, uint32_t height_px) {
    VkSurfaceCapabilitiesKHR can;
    GS_VK(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(m_gpu.physical(), m_gpu.surface(), &can));
    VkExtent2D extent = can.currentExtent;
    if (extent.width == UINT32_MAX)
        extent = {std::clamp(width_px, can.minImageExtent.width, can.maxImageExtent.width),
                  std::clamp(height_px, can.minImageExtent.height, can.maxImageExtent.height)};
    if (extent.width == 0 || extent.height == 0) return false;
    GS_TRY(const VkSurfaceFormatKHR format, choose_format());
    VkSwapchainCreateInfoKHR info{VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR};
    info.surface = m_gpu.surface();
    // One more than the least, so that acquiring does not wait for the display; maxImageCount 0 means no limit.
    info.minImageCount = can.maxImageCount ? std::min(can.minImageCount + 1, can.maxImageCount) : can.minImageCount + 1;
    info.imageFormat = format.format;
    info.imageColorSpace = format.colorSpace;
    info.imageExtent = extent;
    info.imageArrayLayers = 1;
    info.imageUsage = VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    info.preTransform = can.currentTransform;
    info.compositeAlpha = (can.supportedCompositeAlpha & VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR) ? VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR
                                                                                            : VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR;
    info.presentMode = VK_PRESENT_MODE_FIFO_KHR;                // vsync; always there
    info.clipped = VK_TRUE;
    info.oldSwapchain = m_handle;
    VkSwapchainKHR fresh = VK_NULL_HANDLE;
    GS_VK(vkCreateSwapchainKHR(m_gpu.handle(), &info, nullptr, &fresh));
    if (m_handle) vkDestroySwapchainKHR(m_gpu.handle(), m_handle, nullptr);
    m_handle = fresh;
    m_format = format.format;
    m_extent = extent;
    uint32_t count = 0;
    GS_VK(vkGetSwapchainImagesKHR(m_gpu.handle(), m_handle, &count, nullptr));
    m_images.resize(count);
    GS_VK(vkGetSwapchainImagesKHR(m_gpu.handle(), m_handle, &count, m_images.data()));
    GS_TRY_VOID(make_semaphores());
    return true;
}

gs::Result<void> Swapchain::make_semaphores() {
    // Anew with the images: an acquire that ended "out of date" may have left the old one signalled.
    destroy_semaphores();
    const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    GS_VK(vkCreateSemaphore(m_gpu.handle(), &info, nullptr, &m_acquired));
    for (size_t i = 0; i < m_images.size(); ++i) {
        VkSemaphore semaphore = VK_NULL_HANDLE;
        GS_VK(vkCreateSemaphore(m_gpu.handle(), &info, nullptr, &semaphore));
        m_copied.push_back(semaphore);
    }
    return {};
}

gs::Result<bool> Swapchain::acquire() {
    constexpr uint64_t kOneSecond = 1'000'000'000;              // an occluded window may never get an image: do not hang, skip the frame
    const VkResult result = vkAcquireNextImageKHR(m_gpu.handle(), m_handle, kOneSecond, m_acquired, VK_NULL_HANDLE, &m_index);
    if (result == VK_ERROR_OUT_OF_DATE_KHR || result == VK_TIMEOUT || result == VK_NOT_READY) return false;
    GS_VK(result);
    return true;
}

static void change_layout(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to, VkAccessFlags wrote,
                          VkAccessFlags will, VkPipelineStageFlags next) {
    VkImageMemoryBarrier barrier{VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER};
    barrier.srcAccessMask = wrote;
    barrier.dstAccessMask = will;
    barrier.oldLayout = from;
    barrier.newLayout = to;
    barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
    barrier.image = image;
    barrier.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, next, 0, 0, nullptr, 0, nullptr, 1, &barrier);
}

void Swapchain::record_copy(VkCommandBuffer commands, VkImage source) const {
    const VkImage target = m_images[m_index];
    change_layout(commands, target, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 0, VK_ACCESS_TRANSFER_WRITE_BIT,
                  VK_PIPELINE_STAGE_TRANSFER_BIT);
    const VkImageSubresourceLayers layer{VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    if (m_format == kTargetFormat) {
        const VkImageCopy region{layer, {}, layer, {}, {m_extent.width, m_extent.height, 1}};
        vkCmdCopyImage(commands, source, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, target, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
    } else {
        const VkOffset3D end{int32_t(m_extent.width), int32_t(m_extent.height), 1};
        const VkImageBlit region{layer, {{}, end}, layer, {{}, end}};
        vkCmdBlitImage(commands, source, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, target, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region,
                       VK_FILTER_NEAREST);
    }
    change_layout(commands, target, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR, VK_ACCESS_TRANSFER_WRITE_BIT, 0,
                  VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT);
}

gs::Result<bool> Swapchain::present() {
    VkPresentInfoKHR info{VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    info.waitSemaphoreCount = 1;
    info.pWaitSemaphores = &m_copied[m_index];
    info.swapchainCount = 1;
    info.pSwapchains = &m_handle;
    info.pImageIndices = &m_index;
    const VkResult result = vkQueuePresentKHR(m_gpu.queue(), &info);
    if (result == VK_ERROR_OUT_OF_DATE_KHR) return false;
    GS_VK(result);
    if (result != VK_SUBOPTIMAL_KHR) return true;
    // Only a new size is worth new images: some drivers call every picture suboptimal, and would keep the window awake for ever.
    VkSurfaceCapabilitiesKHR can;
    GS_VK(vkGetPhysicalDeviceSurfaceCapabilitiesKHR(m_gpu.physical(), m_gpu.surface(), &can));
    return can.currentExtent.width == UINT32_MAX ||
           (can.currentExtent.width == m_extent.width && can.currentExtent.height == m_extent.height);
}

}  // namespace app
