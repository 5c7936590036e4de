// The GPU side of all heatmaps: one pipeline, the colour tables, and for each heatmap its values in a storage buffer and the image it is
// drawn into. An image is drawn again only when its view or its values changed. The shell calls new_frame() before the panels draw (the
// device is then done with the frame before) and record() before ImGui's pass.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "app/base/colormap.h"
#include "app/widgets/gpu_memory.h"
#include "app/widgets/gpu_shared.h"
#include "app/widgets/heatmap_pyramid.h"
#include "imgui.h"

namespace app {

class HeatmapSurface;

/// The shader's push constants; the same order as Push in shaders/heatmap.frag.
struct HeatmapPush {
    float view_col = 0, view_row = 0;            ///< cell at the top left
    float cols_per_px = 1, rows_per_px = 1;
    float low = 0, inverse_range = 1;
    uint32_t n_cols = 0, n_rows = 0;
    uint32_t n_col_levels = 0, n_row_levels = 0;
    uint32_t first_color = 0;
    uint32_t flags = 0;                          ///< kSwapAxes, kFarthestFromZero
    ImU32 background = 0, no_value = 0, no_value_stripe = 0;
    float px = 1;
    uint32_t shared_first = 0;                   ///< filled in by HeatmapSurface, with kShared
    bool operator==(const HeatmapPush&) const = default;
    /// The shader looks at no level above the values, however its logarithm rounds.
    bool shows_single_cells() const { return cols_per_px < 1.999f && rows_per_px < 1.999f; }

    static constexpr uint32_t kSwapAxes = 1, kFarthestFromZero = 2, kShared = 4;
};
static_assert(sizeof(HeatmapPush) == 68);

class HeatmapRenderer {
public:
    /// After ImGui's Vulkan back end was started, which shows the images. Errors: those of vulkan_error.
    static gs::Result<std::unique_ptr<HeatmapRenderer>> create(const GpuDevice& gpu);
    /// Heatmaps then take input and draw their labels and marks, but no cells: for tests without a graphics device.
    static std::unique_ptr<HeatmapRenderer> without_gpu();
    ~HeatmapRenderer();                          ///< after every Heatmap, before ImGui's Vulkan back end ends

    void new_frame();
    void record(VkCommandBuffer commands);
    /// Images drawn so far, all heatmaps together.
    uint64_t n_drawn() const { return m_n_drawn; }
    /// Those of them whose values were read where the engine wrote them.
    uint64_t n_drawn_shared() const { return m_n_drawn_shared; }
    /// Bytes of values copied from the host so far.
    uint64_t n_bytes_copied() const { return m_n_bytes_copied; }

    bool has_gpu() const { return m_gpu != nullptr; }
    /// Most bytes of values (HeatmapPyramid::size_for) that one heatmap may have.
    uint64_t limit_bytes() const;
    gs::Result<std::unique_ptr<HeatmapSurface>> make_surface();
    /// What the engine writes routing into, null: there is none. Outlives all frames.
    void set_shared(GpuShared* shared) { m_shared = shared; }
    GpuShared* shared() const { return m_shared; }
    /// Frees a surface once no frame under way can show it.
    void retire(std::unique_ptr<HeatmapSurface> surface);

private:
    friend class HeatmapSurface;
    struct Texture;
    HeatmapRenderer() = default;
    gs::Result<void> make_layouts();

    const GpuDevice* m_gpu = nullptr;
    VkRenderPass m_pass = VK_NULL_HANDLE;
    VkDescriptorSetLayout m_set_layout = VK_NULL_HANDLE;
    VkPipelineLayout m_layout = VK_NULL_HANDLE;
    VkPipeline m_pipeline = VK_NULL_HANDLE;
    GpuBuffer m_colors;
    std::vector<HeatmapSurface*> m_surfaces;
    std::vector<std::unique_ptr<HeatmapSurface>> m_retired_surfaces;
    std::vector<std::unique_ptr<Texture>> m_retired_textures;
    GpuShared* m_shared = nullptr;
    uint64_t m_n_drawn = 0, m_n_drawn_shared = 0, m_n_bytes_copied = 0;
};

/// One heatmap's share of the device.
class HeatmapSurface {
public:
    explicit HeatmapSurface(HeatmapRenderer& renderer);
    ~HeatmapSurface();
    /// What the image is made of from now on; the pyramid is within limit_bytes() and stays where it is until the frame is recorded. Copies what changed
    /// since the last time and will be looked at: with `shared`, the same values where the engine wrote them, nothing unless the view is zoomed out.
    /// Errors: those of vulkan_error.
    gs::Result<void> upload(HeatmapPyramid& pyramid, const std::optional<SharedCells>& shared, bool zoomed_out);
    /// The image for this frame, drawn by record(). It may be larger than asked for: uv_max is the lower right corner of the part to show.
    gs::Result<ImTextureID> show(const HeatmapPush& push, int width_px, int height_px, ImVec2& uv_max);

private:
    friend class HeatmapRenderer;
    void bind();
    void copy(size_t first, size_t count);
    void hold_shared();
    void record(VkCommandBuffer commands);

    HeatmapRenderer& m_renderer;
    const HeatmapPyramid* m_pyramid = nullptr;
    std::optional<SharedCells> m_shared;
    std::optional<uint64_t> m_bound_id;          ///< SharedCells::memory_id at binding 3, 0 for something that is not looked at
    bool m_behind = false;                       ///< m_values lacks some of the pyramid's
    bool m_wanted = false;                       ///< show() was called for this frame
    GpuBuffer m_values, m_levels;
    VkDescriptorPool m_pool = VK_NULL_HANDLE;
    VkDescriptorSet m_set = VK_NULL_HANDLE;
    std::unique_ptr<HeatmapRenderer::Texture> m_texture;
    HeatmapPush m_push;
    VkExtent2D m_shown{};
    uint64_t m_layout_generation = 0;
    bool m_stale = true;
};

}  // namespace app
