// One Vulkan 1.2 device with one queue, for drawing. Nothing is asked for that a software driver lacks; llvmpipe is taken when there is
// nothing better. Vulkan calls on a device fail in a way the user can do nothing about (out of memory, device lost): they come back as
// Error.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

/// What a failed Vulkan call becomes: kind kDevice, code "device_lost", "out_of_device_memory", "surface_lost" or "vulkan_failed".
gs::Error vulkan_error(VkResult result, const char* what);

/// Returns from a function that returns a Result when a Vulkan call fails. Positive codes (VK_SUBOPTIMAL_KHR …) are successes.
#define GS_VK(call)                                                         \
    do {                                                                    \
        if (const VkResult gs_vk_ = (call); gs_vk_ < 0) return ::app::vulkan_error(gs_vk_, #call); \
    } while (false)

struct GpuOptions {
    bool validation = false;                                    ///< needs the package vulkan-validationlayers
    std::vector<const char*> instance_extensions;               ///< what the window system wants; empty when headless
    std::function<VkResult(VkInstance, VkSurfaceKHR*)> make_surface;   ///< empty when headless
};

class GpuDevice {
public:
    /// Errors (kDevice): "no_vulkan" (no loader or driver), "no_gpu" (no device that can draw, or present to the surface),
    /// "no_validation_layer", and those of vulkan_error.
    static gs::Result<std::unique_ptr<GpuDevice>> create(const GpuOptions& options);
    ~GpuDevice();
    GpuDevice(const GpuDevice&) = delete;
    GpuDevice& operator=(const GpuDevice&) = delete;

    VkInstance instance() const { return m_instance; }
    VkPhysicalDevice physical() const { return m_physical; }
    VkDevice handle() const { return m_device; }
    VkQueue queue() const { return m_queue; }
    uint32_t queue_family() const { return m_family; }
    VkSurfaceKHR surface() const { return m_surface; }          ///< null when headless
    const VkPhysicalDeviceProperties& properties() const { return m_properties; }
    /// Warnings and errors of the validation layers so far; 0 without validation.
    int validation_messages() const { return m_validation_messages.load(); }
    /// Index of a memory type within `allowed` with all of `wanted`, or -1.
    int memory_type(uint32_t allowed, VkMemoryPropertyFlags wanted) const;
    void wait_idle() const;
    /// Memory can be handed to another interface as a file descriptor (VK_KHR_external_memory_fd).
    bool exports_memory() const { return m_exports_memory; }
    /// The same for every interface that knows the device.
    const std::array<uint8_t, VK_UUID_SIZE>& uuid() const { return m_uuid; }

private:
    GpuDevice() = default;
    gs::Result<void> make_instance(const GpuOptions& options);
    gs::Result<void> choose_physical();
    gs::Result<void> make_device();

    VkInstance m_instance = VK_NULL_HANDLE;
    VkDebugUtilsMessengerEXT m_messenger = VK_NULL_HANDLE;
    VkSurfaceKHR m_surface = VK_NULL_HANDLE;
    VkPhysicalDevice m_physical = VK_NULL_HANDLE;
    VkPhysicalDeviceProperties m_properties{};
    VkPhysicalDeviceMemoryProperties m_memory{};
    VkDevice m_device = VK_NULL_HANDLE;
    VkQueue m_queue = VK_NULL_HANDLE;
    uint32_t m_family = 0;
    std::array<uint8_t, VK_UUID_SIZE> m_uuid{};
    bool m_exports_memory = false;
    std::atomic<int> m_validation_messages{0};
};

}  // namespace app
