#include "app/shell/imgui_host.h"

#include <atomic>

#include "imgui_impl_glfw.h"
#include "imgui_impl_vulkan.h"
#include "implot.h"

namespace app {

// The back end reports failures to a plain function, without a pointer to us.
static std::atomic<VkResult> g_failure{VK_SUCCESS};

gs::Result<std::unique_ptr<ImGuiHost>> ImGuiHost::create(const GpuDevice& gpu, VkRenderPass pass, GLFWwindow* window) {
    IMGUI_CHECKVERSION();
    std::unique_ptr<ImGuiHost> host(new ImGuiHost(gpu));
    ImGui::CreateContext();
    ImPlot::CreateContext();
    ImGuiIO& io = ImGui::GetIO();
    io.ConfigFlags |= ImGuiConfigFlags_DockingEnable | ImGuiConfigFlags_NavEnableKeyboard;
    io.ConfigWindowsMoveFromTitleBarOnly = true;                // dragging in a panel is for its picture
    io.IniFilename = nullptr;                                   // Settings keeps the layout: atomically, and broken files are set aside
    io.LogFilename = nullptr;
    GS_TRY(host->m_fonts, load_fonts());
    if (window) host->m_has_window = ImGui_ImplGlfw_InitForVulkan(window, /*install_callbacks=*/true);
    else io.BackendPlatformName = "headless";
    ImGui_ImplVulkan_InitInfo info{};
    info.ApiVersion = VK_API_VERSION_1_2;
    info.Instance = gpu.instance();
    info.PhysicalDevice = gpu.physical();
    info.Device = gpu.handle();
    info.QueueFamily = gpu.queue_family();
    info.Queue = gpu.queue();
    info.DescriptorPoolSize = 256;                              // fonts, and one image a heatmap
    info.MinImageCount = info.ImageCount = 2;
    info.PipelineInfoMain.RenderPass = pass;
    info.CheckVkResultFn = [](VkResult result) {
        if (result < 0) g_failure = result;
    };
    host->m_has_vulkan = ImGui_ImplVulkan_Init(&info);
    if (!host->m_has_vulkan) return vulkan_error(VK_ERROR_INITIALIZATION_FAILED, "ImGui_ImplVulkan_Init");
    GS_TRY_VOID(host->take_failure());
    return host;
}

ImGuiHost::~ImGuiHost() {
    m_gpu.wait_idle();
    if (m_has_vulkan) ImGui_ImplVulkan_Shutdown();
    if (m_has_window) ImGui_ImplGlfw_Shutdown();
    ImPlot::DestroyContext();
    ImGui::DestroyContext();
}

void ImGuiHost::new_frame(int width_px, int height_px) {
    ImGui_ImplVulkan_NewFrame();
    if (m_has_window) {
        ImGui_ImplGlfw_NewFrame();
    } else {
        ImGui::GetIO().DisplaySize = {float(width_px), float(height_px)};
        ImGui::GetIO().DeltaTime = float(kHeadlessFrameSeconds);
    }
    ImGui::NewFrame();
}

void ImGuiHost::record(VkCommandBuffer commands) { ImGui_ImplVulkan_RenderDrawData(ImGui::GetDrawData(), commands); }

gs::Result<void> ImGuiHost::take_failure() {
    if (const VkResult failure = g_failure.exchange(VK_SUCCESS); failure < 0) return vulkan_error(failure, "Dear ImGui's Vulkan back end");
    return {};
}

}  // namespace app
