#include "app/widgets/gpu_memory.h"

#include <utility>

namespace app {

static gs::Result<VkDeviceMemory> allocate(const GpuDevice& gpu, const VkMemoryRequirements& needs,
                                           std::span<const VkMemoryPropertyFlags> wishes) {
    for (VkMemoryPropertyFlags wish : wishes) {
        const int type = gpu.memory_type(needs.memoryTypeBits, wish);
        if (type < 0) continue;
        VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
        info.allocationSize = needs.size;
        info.memoryTypeIndex = uint32_t(type);
        VkDeviceMemory memory = VK_NULL_HANDLE;
        // The small window of device memory that the host can write may be full: the next wish is tried then.
        if (vkAllocateMemory(gpu.handle(), &info, nullptr, &memory) == VK_SUCCESS) return memory;
    }
    return vulkan_error(VK_ERROR_OUT_OF_DEVICE_MEMORY, "vkAllocateMemory");
}

gs::Result<GpuBuffer> GpuBuffer::create(const GpuDevice& gpu, VkDeviceSize size_bytes, VkBufferUsageFlags usage) {
    GpuBuffer buffer;
    buffer.m_device = gpu.handle();
    buffer.m_size = size_bytes;
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    info.size = size_bytes;
    info.usage = usage;
    GS_VK(vkCreateBuffer(gpu.handle(), &info, nullptr, &buffer.m_handle));
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(gpu.handle(), buffer.m_handle, &needs);
    const VkMemoryPropertyFlags host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const bool reads_back = usage & VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    const VkMemoryPropertyFlags wishes[] = {host | (reads_back ? VK_MEMORY_PROPERTY_HOST_CACHED_BIT : VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT),
                                            host};
    GS_TRY(buffer.m_memory, allocate(gpu, needs, wishes));
    GS_VK(vkBindBufferMemory(gpu.handle(), buffer.m_handle, buffer.m_memory, 0));
    GS_VK(vkMapMemory(gpu.handle(), buffer.m_memory, 0, VK_WHOLE_SIZE, 0, &buffer.m_mapped));
    return buffer;
}

GpuBuffer& GpuBuffer::operator=(GpuBuffer&& other) noexcept {
    if (this == &other) return *this;
    reset();
    m_device = other.m_device;
    m_handle = std::exchange(other.m_handle, VK_NULL_HANDLE);
    m_memory = std::exchange(other.m_memory, VK_NULL_HANDLE);
    m_mapped = std::exchange(other.m_mapped, nullptr);
    m_size = std::exchange(other.m_size, 0);
    return *this;
}

void GpuBuffer::reset() {
    if (m_handle) vkDestroyBuffer(m_device, m_handle, nullptr);
    if (m_memory) vkFreeMemory(m_device, m_memory, nullptr);     // also unmaps
    m_handle = VK_NULL_HANDLE;
    m_memory = VK_NULL_HANDLE;
    m_mapped = nullptr;
    m_size = 0;
}

gs::Result<GpuImage> GpuImage::create(const GpuDevice& gpu, VkRenderPass pass, uint32_t width_px, uint32_t height_px) {
    GpuImage image;
    image.m_device = gpu.handle();
    image.m_extent = {width_px, height_px};
    VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = kTargetFormat;
    info.extent = {width_px, height_px, 1};
    info.mipLevels = info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_OPTIMAL;
    info.usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_SAMPLED_BIT;
    GS_VK(vkCreateImage(gpu.handle(), &info, nullptr, &image.m_handle));
    VkMemoryRequirements needs;
    vkGetImageMemoryRequirements(gpu.handle(), image.m_handle, &needs);
    const VkMemoryPropertyFlags wishes[] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    GS_TRY(image.m_memory, allocate(gpu, needs, wishes));
    GS_VK(vkBindImageMemory(gpu.handle(), image.m_handle, image.m_memory, 0));
    VkImageViewCreateInfo view{VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO};
    view.image = image.m_handle;
    view.viewType = VK_IMAGE_VIEW_TYPE_2D;
    view.format = kTargetFormat;
    view.subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    GS_VK(vkCreateImageView(gpu.handle(), &view, nullptr, &image.m_view));
    VkFramebufferCreateInfo framebuffer{VK_STRUCTURE_TYPE_FRAMEBUFFER_CREATE_INFO};
    framebuffer.renderPass = pass;
    framebuffer.attachmentCount = 1;
    framebuffer.pAttachments = &image.m_view;
    framebuffer.width = width_px;
    framebuffer.height = height_px;
    framebuffer.layers = 1;
    GS_VK(vkCreateFramebuffer(gpu.handle(), &framebuffer, nullptr, &image.m_framebuffer));
    return image;
}

GpuImage& GpuImage::operator=(GpuImage&& other) noexcept {
    if (this == &other) return *this;
    reset();
    m_device = other.m_device;
    m_handle = std::exchange(other.m_handle, VK_NULL_HANDLE);
    m_memory = std::exchange(other.m_memory, VK_NULL_HANDLE);
    m_view = std::exchange(other.m_view, VK_NULL_HANDLE);
    m_framebuffer = std::exchange(other.m_framebuffer, VK_NULL_HANDLE);
    m_extent = std::exchange(other.m_extent, {});
    return *this;
}

void GpuImage::reset() {
    if (m_framebuffer) vkDestroyFramebuffer(m_device, m_framebuffer, nullptr);
    if (m_view) vkDestroyImageView(m_device, m_view, nullptr);
    if (m_handle) vkDestroyImage(m_device, m_handle, nullptr);
    if (m_memory) vkFreeMemory(m_device, m_memory, nullptr);
    m_framebuffer = VK_NULL_HANDLE;
    m_view = VK_NULL_HANDLE;
    m_handle = VK_NULL_HANDLE;
    m_memory = VK_NULL_HANDLE;
    m_extent = {};
}

gs::Result<VkRenderPass> make_render_pass(const GpuDevice& gpu, VkAttachmentLoadOp load, VkImageLayout last) {
    VkAttachmentDescription color{};
    color.format = kTargetFormat;
    color.samples = VK_SAMPLE_COUNT_1_BIT;
    color.loadOp = load;
    color.storeOp = VK_ATTACHMENT_STORE_OP_STORE;
    color.stencilLoadOp = VK_ATTACHMENT_LOAD_OP_DONT_CARE;
    color.stencilStoreOp = VK_ATTACHMENT_STORE_OP_DONT_CARE;
    color.initialLayout = VK_IMAGE_LAYOUT_UNDEFINED;
    color.finalLayout = last;
    const VkAttachmentReference reference{0, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL};
    VkSubpassDescription subpass{};
    subpass.pipelineBindPoint = VK_PIPELINE_BIND_POINT_GRAPHICS;
    subpass.colorAttachmentCount = 1;
    subpass.pColorAttachments = &reference;
    // Before: last frame's copy out of the image, or its sampling, is over. After: copy and sampling see what was drawn.
    const VkPipelineStageFlags readers = VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_FRAGMENT_SHADER_BIT;
    const VkPipelineStageFlags writer = VK_PIPELINE_STAGE_COLOR_ATTACHMENT_OUTPUT_BIT;
    const VkAccessFlags reads = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_SHADER_READ_BIT;
    const VkSubpassDependency dependencies[] = {
        {VK_SUBPASS_EXTERNAL, 0, readers | writer, writer, VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT, VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT, 0},
        {0, VK_SUBPASS_EXTERNAL, writer, readers, VK_ACCESS_COLOR_ATTACHMENT_WRITE_BIT, reads, 0}};
    VkRenderPassCreateInfo info{VK_STRUCTURE_TYPE_RENDER_PASS_CREATE_INFO};
    info.attachmentCount = 1;
    info.pAttachments = &color;
    info.subpassCount = 1;
    info.pSubpasses = &subpass;
    info.dependencyCount = 2;
    info.pDependencies = dependencies;
    VkRenderPass pass = VK_NULL_HANDLE;
    GS_VK(vkCreateRenderPass(gpu.handle(), &info, nullptr, &pass));
    return pass;
}

}  // namespace app
