// A pipeline that runs a fragment shader over a rectangle: no vertices, no blending, viewport and scissor set when drawing.
#pragma once

#include <span>

#include "app/widgets/gpu_device.h"

namespace app {

struct FullscreenShaders {
    std::span<const uint32_t> vertex, fragment;                 ///< SPIR-V
};
/// Errors: those of vulkan_error.
gs::Result<VkPipeline> make_fullscreen_pipeline(const GpuDevice& gpu, const FullscreenShaders& shaders, VkPipelineLayout layout,
                                                VkRenderPass pass);

}  // namespace app
