#include "app/widgets/heatmap_renderer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "app/widgets/gpu_pipeline.h"
#include "imgui_impl_vulkan.h"

namespace app {

static constexpr uint32_t kVertexCode[] =
#include "heatmap.vert.inc"
    ;
static constexpr uint32_t kFragmentCode[] =
#include "heatmap.frag.inc"
    ;
static constexpr uint32_t kImageStepPx = 128;  // images grow in steps, so that dragging a splitter does not make one a frame

/// An image of ours that ImGui can show.
struct HeatmapRenderer::Texture {
    GpuImage image;
    VkDescriptorSet id = VK_NULL_HANDLE;
    ~Texture() {
        if (id) ImGui_ImplVulkan_RemoveTexture(id);
    }
};

gs::Result<std::unique_ptr<HeatmapRenderer>> HeatmapRenderer::create(const GpuDevice& gpu) {
    std::unique_ptr<HeatmapRenderer> renderer(new HeatmapRenderer);
    renderer->m_gpu = &gpu;
    GS_TRY(renderer->m_pass, make_render_pass(gpu, VK_ATTACHMENT_LOAD_OP_DONT_CARE, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL));
    GS_TRY_VOID(renderer->make_layouts());
    GS_TRY(renderer->m_pipeline, make_fullscreen_pipeline(gpu, {kVertexCode, kFragmentCode}, renderer->m_layout, renderer->m_pass));
    GS_TRY(renderer->m_colors, GpuBuffer::create(gpu, std::size(kColorMaps) * 256 * sizeof(ImU32), VK_BUFFER_USAGE_STORAGE_BUFFER_BIT));
    for (ColorMap map : kColorMaps)
        std::memcpy(renderer->m_colors.data().data() + size_t(map) * 256 * sizeof(ImU32), table(map).data(), 256 * sizeof(ImU32));
    return renderer;
}

std::unique_ptr<HeatmapRenderer> HeatmapRenderer::without_gpu() { return std::unique_ptr<HeatmapRenderer>(new HeatmapRenderer); }

gs::Result<void> HeatmapRenderer::make_layouts() {
    VkDescriptorSetLayoutBinding bindings[4]{};
    for (uint32_t i = 0; i < 4; ++i) bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_FRAGMENT_BIT, nullptr};
    VkDescriptorSetLayoutCreateInfo set{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
    set.bindingCount = 4;
    set.pBindings = bindings;
    GS_VK(vkCreateDescriptorSetLayout(m_gpu->handle(), &set, nullptr, &m_set_layout));
    const VkPushConstantRange push{VK_SHADER_STAGE_FRAGMENT_BIT, 0, sizeof(HeatmapPush)};
    VkPipelineLayoutCreateInfo layout{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
    layout.setLayoutCount = 1;
    layout.pSetLayouts = &m_set_layout;
    layout.pushConstantRangeCount = 1;
    layout.pPushConstantRanges = &push;
    GS_VK(vkCreatePipelineLayout(m_gpu->handle(), &layout, nullptr, &m_layout));
    return {};
}

HeatmapRenderer::~HeatmapRenderer() {
    if (!m_gpu) return;
    m_gpu->wait_idle();
    m_retired_surfaces.clear();
    m_retired_textures.clear();
    if (m_pipeline) vkDestroyPipeline(m_gpu->handle(), m_pipeline, nullptr);
    if (m_layout) vkDestroyPipelineLayout(m_gpu->handle(), m_layout, nullptr);
    if (m_set_layout) vkDestroyDescriptorSetLayout(m_gpu->handle(), m_set_layout, nullptr);
    if (m_pass) vkDestroyRenderPass(m_gpu->handle(), m_pass, nullptr);
}

uint64_t HeatmapRenderer::limit_bytes() const {
    constexpr uint64_t kWithoutGpu = 1u << 30;
    return m_gpu ? m_gpu->properties().limits.maxStorageBufferRange : kWithoutGpu;
}

void HeatmapRenderer::new_frame() {
    m_retired_surfaces.clear();
    m_retired_textures.clear();
    if (m_shared) m_shared->free_unused();
}

void HeatmapRenderer::record(VkCommandBuffer commands) {
    for (HeatmapSurface* surface : m_surfaces) surface->record(commands);
}

gs::Result<std::unique_ptr<HeatmapSurface>> HeatmapRenderer::make_surface() {
    auto surface = std::make_unique<HeatmapSurface>(*this);
    VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 4};
    VkDescriptorPoolCreateInfo pool{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
    pool.maxSets = 1;
    pool.poolSizeCount = 1;
    pool.pPoolSizes = &size;
    GS_VK(vkCreateDescriptorPool(m_gpu->handle(), &pool, nullptr, &surface->m_pool));
    VkDescriptorSetAllocateInfo set{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
    set.descriptorPool = surface->m_pool;
    set.descriptorSetCount = 1;
    set.pSetLayouts = &m_set_layout;
    GS_VK(vkAllocateDescriptorSets(m_gpu->handle(), &set, &surface->m_set));
    return surface;
}

void HeatmapRenderer::retire(std::unique_ptr<HeatmapSurface> surface) {
    if (!surface) return;
    std::erase(m_surfaces, surface.get());
    m_retired_surfaces.push_back(std::move(surface));
}

HeatmapSurface::HeatmapSurface(HeatmapRenderer& renderer) : m_renderer(renderer) { renderer.m_surfaces.push_back(this); }

HeatmapSurface::~HeatmapSurface() {
    std::erase(m_renderer.m_surfaces, this);
    if (m_pool) vkDestroyDescriptorPool(m_renderer.m_gpu->handle(), m_pool, nullptr);
}

gs::Result<void> HeatmapSurface::upload(HeatmapPyramid& pyramid, const std::optional<SharedCells>& shared, bool zoomed_out) {
    const std::span<const float> values = pyramid.values();
    m_pyramid = &pyramid;
    if (pyramid.layout_generation() != m_layout_generation) {
        m_renderer.m_gpu->wait_idle();                          // the buffers may still be read
        const std::span<const HeatmapPyramid::Level> levels = pyramid.levels();
        m_values.reset();
        m_levels.reset();
        GS_TRY(m_values, GpuBuffer::create(*m_renderer.m_gpu, values.size_bytes(), VK_BUFFER_USAGE_STORAGE_BUFFER_BIT));
        GS_TRY(m_levels, GpuBuffer::create(*m_renderer.m_gpu, levels.size_bytes(), VK_BUFFER_USAGE_STORAGE_BUFFER_BIT));
        std::memcpy(m_levels.data().data(), levels.data(), levels.size_bytes());
        m_bound_id.reset();
        m_layout_generation = pyramid.layout_generation();
    }
    m_stale = m_stale || shared != m_shared;
    m_shared = shared;
    if (m_bound_id != (shared ? shared->memory_id : 0)) bind();
    const auto dirty = pyramid.take_dirty();
    m_stale = m_stale || !dirty.empty();
    if (shared && !zoomed_out) {
        m_behind = m_behind || !dirty.empty();
    } else if (m_behind) {
        copy(0, values.size());
    } else {
        for (const auto& [first, count] : dirty) copy(first, count);
    }
    return {};
}

void HeatmapSurface::copy(size_t first, size_t count) {
    const std::span<const float> values = m_pyramid->values();
    std::memcpy(m_values.data().data() + first * sizeof(float), values.data() + first, count * sizeof(float));
    m_renderer.m_n_bytes_copied += count * sizeof(float);
    if (count == values.size()) m_behind = false;
}

/// Just before it is drawn: another run may have begun since it was said what to show. The host has the same values.
void HeatmapSurface::hold_shared() {
    const bool held = m_shared && m_push.shows_single_cells() && m_renderer.m_shared->hold(*m_shared);
    m_push.flags = (m_push.flags & ~HeatmapPush::kShared) | (held ? HeatmapPush::kShared : 0);
    m_push.shared_first = held ? m_shared->first : 0;
    m_renderer.m_n_drawn_shared += held;
    if (!held && m_behind && m_pyramid->layout_generation() == m_layout_generation) copy(0, m_pyramid->values().size());
}

void HeatmapSurface::bind() {
    const VkBuffer shared = m_shared ? m_shared->buffer : m_renderer.m_colors.handle();   // something must be bound
    m_bound_id = m_shared ? m_shared->memory_id : 0;
    const VkDescriptorBufferInfo buffers[] = {{m_values.handle(), 0, VK_WHOLE_SIZE},
                                              {m_levels.handle(), 0, VK_WHOLE_SIZE},
                                              {m_renderer.m_colors.handle(), 0, VK_WHOLE_SIZE},
                                              {shared, 0, VK_WHOLE_SIZE}};
    VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.dstSet = m_set;
    write.descriptorCount = 4;                                  // bindings 0 to 3
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = buffers;
    vkUpdateDescriptorSets(m_renderer.m_gpu->handle(), 1, &write, 0, nullptr);
}

gs::Result<ImTextureID> HeatmapSurface::show(const HeatmapPush& push, int width_px, int height_px, ImVec2& uv_max) {
    const VkExtent2D wanted{uint32_t(width_px), uint32_t(height_px)};
    const VkExtent2D have = m_texture ? m_texture->image.extent() : VkExtent2D{};
    if (wanted.width > have.width || wanted.height > have.height) {
        if (m_texture) m_renderer.m_retired_textures.push_back(std::move(m_texture));
        const auto rounded = [](uint32_t now, uint32_t need) {
            return std::max(now, (need + kImageStepPx - 1) / kImageStepPx * kImageStepPx);
        };
        auto texture = std::make_unique<HeatmapRenderer::Texture>();
        GS_TRY(texture->image, GpuImage::create(*m_renderer.m_gpu, m_renderer.m_pass, rounded(have.width, wanted.width),
                                                rounded(have.height, wanted.height)));
        texture->id = ImGui_ImplVulkan_AddTexture(texture->image.view(), VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
        m_texture = std::move(texture);
        m_stale = true;
    }
    HeatmapPush as_drawn = push;                                // but for what record() decides
    as_drawn.flags |= m_push.flags & HeatmapPush::kShared;
    as_drawn.shared_first = m_push.shared_first;
    if (as_drawn != m_push || wanted.width != m_shown.width || wanted.height != m_shown.height) m_stale = true;
    m_push = as_drawn;
    m_shown = wanted;
    m_wanted = true;
    const VkExtent2D extent = m_texture->image.extent();
    uv_max = {float(wanted.width) / float(extent.width), float(wanted.height) / float(extent.height)};
    return ImTextureID(m_texture->id);
}

void HeatmapSurface::record(VkCommandBuffer commands) {
    if (!std::exchange(m_wanted, false) || !m_stale || !m_texture || !m_values || m_push.n_cols == 0) return;
    m_stale = false;
    ++m_renderer.m_n_drawn;
    hold_shared();
    const bool shared = m_push.flags & HeatmapPush::kShared;
    if (shared) take_over(commands, m_shared->buffer, VK_QUEUE_FAMILY_EXTERNAL, m_renderer.m_gpu->queue_family());
    VkRenderPassBeginInfo begin{VK_STRUCTURE_TYPE_RENDER_PASS_BEGIN_INFO};
    begin.renderPass = m_renderer.m_pass;
    begin.framebuffer = m_texture->image.framebuffer();
    begin.renderArea.extent = m_texture->image.extent();
    vkCmdBeginRenderPass(commands, &begin, VK_SUBPASS_CONTENTS_INLINE);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, m_renderer.m_pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, m_renderer.m_layout, 0, 1, &m_set, 0, nullptr);
    vkCmdPushConstants(commands, m_renderer.m_layout, VK_SHADER_STAGE_FRAGMENT_BIT, 0, sizeof m_push, &m_push);
    const VkViewport viewport{0, 0, float(m_shown.width), float(m_shown.height), 0, 1};
    const VkRect2D scissor{{0, 0}, m_shown};
    vkCmdSetViewport(commands, 0, 1, &viewport);
    vkCmdSetScissor(commands, 0, 1, &scissor);
    vkCmdDraw(commands, 3, 1, 0, 0);
    vkCmdEndRenderPass(commands);
    if (shared) take_over(commands, m_shared->buffer, m_renderer.m_gpu->queue_family(), VK_QUEUE_FAMILY_EXTERNAL);
}

}  // namespace app
