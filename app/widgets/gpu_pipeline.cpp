#include "app/widgets/gpu_pipeline.h"

#include <array>

namespace app {

static gs::Result<VkShaderModule> make_module(const GpuDevice& gpu, std::span<const uint32_t> code) {
    VkShaderModuleCreateInfo info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
    info.codeSize = code.size_bytes();
    info.pCode = code.data();
    VkShaderModule module = VK_NULL_HANDLE;
    GS_VK(vkCreateShaderModule(gpu.handle(), &info, nullptr, &module));
    return module;
}

static VkResult make_pipeline(const GpuDevice& gpu, std::span<const VkPipelineShaderStageCreateInfo> stages, VkPipelineLayout layout,
                              VkRenderPass pass, VkPipeline* pipeline) {
    const VkPipelineVertexInputStateCreateInfo vertices{VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
    VkPipelineInputAssemblyStateCreateInfo assembly{VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO};
    assembly.topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST;
    VkPipelineViewportStateCreateInfo viewport{VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO};
    viewport.viewportCount = viewport.scissorCount = 1;
    VkPipelineRasterizationStateCreateInfo raster{VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO};
    raster.lineWidth = 1;
    VkPipelineMultisampleStateCreateInfo samples{VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO};
    samples.rasterizationSamples = VK_SAMPLE_COUNT_1_BIT;
    VkPipelineColorBlendAttachmentState overwrite{};
    overwrite.colorWriteMask = VK_COLOR_COMPONENT_R_BIT | VK_COLOR_COMPONENT_G_BIT | VK_COLOR_COMPONENT_B_BIT | VK_COLOR_COMPONENT_A_BIT;
    VkPipelineColorBlendStateCreateInfo blend{VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO};
    blend.attachmentCount = 1;
    blend.pAttachments = &overwrite;
    const VkDynamicState states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
    VkPipelineDynamicStateCreateInfo dynamic{VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO};
    dynamic.dynamicStateCount = 2;
    dynamic.pDynamicStates = states;
    VkGraphicsPipelineCreateInfo info{VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO};
    info.stageCount = uint32_t(stages.size());
    info.pStages = stages.data();
    info.pVertexInputState = &vertices;
    info.pInputAssemblyState = &assembly;
    info.pViewportState = &viewport;
    info.pRasterizationState = &raster;
    info.pMultisampleState = &samples;
    info.pColorBlendState = &blend;
    info.pDynamicState = &dynamic;
    info.layout = layout;
    info.renderPass = pass;
    return vkCreateGraphicsPipelines(gpu.handle(), VK_NULL_HANDLE, 1, &info, nullptr, pipeline);
}

gs::Result<VkPipeline> make_fullscreen_pipeline(const GpuDevice& gpu, const FullscreenShaders& shaders, VkPipelineLayout layout,
                                                VkRenderPass pass) {
    std::array<VkPipelineShaderStageCreateInfo, 2> stages{};
    GS_TRY(stages[0].module, make_module(gpu, shaders.vertex));
    auto fragment = make_module(gpu, shaders.fragment);
    if (!fragment) {
        vkDestroyShaderModule(gpu.handle(), stages[0].module, nullptr);
        return fragment.error();
    }
    stages[1].module = *fragment;
    stages[0].stage = VK_SHADER_STAGE_VERTEX_BIT;
    stages[1].stage = VK_SHADER_STAGE_FRAGMENT_BIT;
    for (VkPipelineShaderStageCreateInfo& stage : stages) {
        stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
        stage.pName = "main";
    }
    VkPipeline pipeline = VK_NULL_HANDLE;
    const VkResult made = make_pipeline(gpu, stages, layout, pass, &pipeline);
    for (const VkPipelineShaderStageCreateInfo& stage : stages) vkDestroyShaderModule(gpu.handle(), stage.module, nullptr);
    GS_VK(made);
    return pipeline;
}

}  // namespace app
