#include "app/shell/frame_renderer.h"

#include "engine/core/check.h"

namespace app {

gs::Result<std::unique_ptr<FrameRenderer>> FrameRenderer::create(const GpuDevice& gpu) {
    std::unique_ptr<FrameRenderer> renderer(new FrameRenderer(gpu));
    GS_TRY_VOID(renderer->make());
    return renderer;
}

gs::Result<void> FrameRenderer::make() {
    GS_TRY(m_pass, make_render_pass(m_gpu, VK_ATTACHMENT_LOAD_OP_CLEAR, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL));
    VkCommandPoolCreateInfo pool{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
    pool.queueFamilyIndex = m_gpu.queue_family();
    GS_VK(vkCreateCommandPool(m_gpu.handle(), &pool, nullptr, &m_pool));
    VkCommandBufferAllocateInfo commands{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
    commands.commandPool = m_pool;
    commands.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    commands.commandBufferCount = 1;
    GS_VK(vkAllocateCommandBuffers(m_gpu.handle(), &commands, &m_commands));
    const VkFenceCreateInfo fence{VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    GS_VK(vkCreateFence(m_gpu.handle(), &fence, nullptr, &m_done));
    if (m_gpu.surface()) m_swapchain = std::make_unique<Swapchain>(m_gpu);
    return {};
}

FrameRenderer::~FrameRenderer() {
    m_gpu.wait_idle();
    m_swapchain.reset();
    m_target.reset();
    if (m_done) vkDestroyFence(m_gpu.handle(), m_done, nullptr);
    if (m_pool) vkDestroyCommandPool(m_gpu.handle(), m_pool, nullptr);
    if (m_pass) vkDestroyRenderPass(m_gpu.handle(), m_pass, nullptr);
}

gs::Result<bool> FrameRenderer::resize(uint32_t width_px, uint32_t height_px) {
    if (width_px == 0 || height_px == 0) return false;
    GS_TRY_VOID(wait());
    VkExtent2D extent{width_px, height_px};
    if (m_swapchain) {
        m_gpu.wait_idle();                                      // also for what is being presented
        GS_TRY(const bool made, m_swapchain->make(width_px, height_px));
        if (!made) return false;
        extent = m_swapchain->extent();
    }
    if (extent.width == m_target.extent().width && extent.height == m_target.extent().height) return true;
    m_target.reset();
    GS_TRY(m_target, GpuImage::create(m_gpu, m_pass, extent.width, extent.height));
    return true;
}

gs::Result<void> FrameRenderer::wait() {
    if (!m_in_flight) return {};
    GS_VK(vkWaitForFences(m_gpu.handle(), 1, &m_done, VK_TRUE, UINT64_MAX));
    GS_VK(vkResetFences(m_gpu.handle(), 1, &m_done));
    m_in_flight = false;
    return {};
}

gs::Result<void> FrameRenderer::submit(bool to_window) {
    GS_VK(vkEndCommandBuffer(m_commands));
    const VkPipelineStageFlags copy = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.commandBufferCount = 1;
    info.pCommandBuffers = &m_commands;
    const VkSemaphore acquired = to_window ? m_swapchain->acquired() : VK_NULL_HANDLE;
    const VkSemaphore copied = to_window ? m_swapchain->copied() : VK_NULL_HANDLE;
    if (to_window) {
        info.waitSemaphoreCount = info.signalSemaphoreCount = 1;
        info.pWaitSemaphores = &acquired;
        info.pWaitDstStageMask = &copy;
        info.pSignalSemaphores = &copied;
    }
    GS_VK(vkQueueSubmit(m_gpu.queue(), 1, &info, m_done));
    m_in_flight = true;
    return {};
}

gs::Result<bool> FrameRenderer::draw(uint32_t clear, const Record& before, const Record& inside) {
    GS_CHECK(m_target && !m_in_flight, "draw() comes after resize() and wait()");
    if (m_swapchain) {
        GS_TRY(const bool acquired, m_swapchain->acquire());
        if (!acquired) return false;
    }
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    GS_VK(vkBeginCommandBuffer(m_commands, &begin));
    before(m_commands);
    const auto channel = [&](int shift) { return float(clear >> shift & 255) / 255; };
    const VkClearValue background{{{channel(16), channel(8), channel(0), 1}}};
    VkRenderPassBeginInfo pass{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
    pass.renderPass = m_pass;
    pass.framebuffer = m_target.framebuffer();
    pass.renderArea.extent = m_target.extent();
    pass.clearValueCount = 1;
    pass.pClearValues = &background;
    vkCmdBeginRenderPass(m_commands, &pass, VK_SUBPASS_CONTENTS_INLINE);
    inside(m_commands);
    vkCmdEndRenderPass(m_commands);
    if (m_swapchain) m_swapchain->record_copy(m_commands, m_target.handle());
    GS_TRY_VOID(submit(m_swapchain != nullptr));
    if (!m_swapchain) return true;
    return m_swapchain->present();
}

gs::Result<Picture> FrameRenderer::read_back() {
    GS_CHECK(bool(m_target), "nothing was drawn yet");
    GS_TRY_VOID(wait());
    Picture picture;
    picture.width_px = int(extent().width);
    picture.height_px = int(extent().height);
    const size_t size_bytes = size_t(picture.width_px) * size_t(picture.height_px) * 4;
    GS_TRY(const GpuBuffer buffer, GpuBuffer::create(m_gpu, size_bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT));
    VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    GS_VK(vkBeginCommandBuffer(m_commands, &begin));
    VkBufferImageCopy region{};
    region.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    region.imageExtent = {extent().width, extent().height, 1};
    vkCmdCopyImageToBuffer(m_commands, m_target.handle(), VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer.handle(), 1, &region);
    VkMemoryBarrier to_host{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
    to_host.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    to_host.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
    vkCmdPipelineBarrier(m_commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, nullptr, 0, nullptr);
    GS_TRY_VOID(submit(false));
    GS_TRY_VOID(wait());
    picture.rgba.resize(size_bytes);
    const auto* bgra = reinterpret_cast<const uint8_t*>(buffer.data().data());
    for (size_t i = 0; i < size_bytes; i += 4) {
        picture.rgba[i] = bgra[i + 2];
        picture.rgba[i + 1] = bgra[i + 1];
        picture.rgba[i + 2] = bgra[i];
        picture.rgba[i + 3] = 255;
    }
    return picture;
}

}  // namespace app
