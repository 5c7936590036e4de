#include "app/widgets/gpu_device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace app {

static constexpr const char* kValidationLayer = "VK_LAYER_KHRONOS_validation";

gs::Error vulkan_error(VkResult result, const char* what) {
    gs::Error error{
        gs::ErrorKind::kDevice, "vulkan_failed", "The graphics device failed", {}, "Restart; if it stays, update the graphics driver"};
    switch (result) {
        case VK_ERROR_DEVICE_LOST:
            error.code = "device_lost";
            error.why = "the device was lost (driver reset, or it was removed)";
            break;
        case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        case VK_ERROR_OUT_OF_HOST_MEMORY:
            error.code = "out_of_device_memory";
            error.why = "out of graphics memory";
            error.remedy = "Close other programs that use the graphics device, or make the window smaller";
            break;
        case VK_ERROR_SURFACE_LOST_KHR:
            error.code = "surface_lost";
            error.why = "the window's surface was lost (did the display server end?)";
            break;
        default: error.why = "unexpected Vulkan result"; break;
    }
    error.why += " in " + std::string(what).substr(0, std::string(what).find('(')) + ", VkResult " + std::to_string(result);
    return error;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL count_message(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,
                                                    const VkDebugUtilsMessengerCallbackDataEXT* data, void* counter) {
    static_cast<std::atomic<int>*>(counter)->fetch_add(1);
    std::fprintf(stderr, "vulkan validation: %s\n", data->pMessage);
    return VK_FALSE;
}

gs::Result<std::unique_ptr<GpuDevice>> GpuDevice::create(const GpuOptions& options) {
    std::unique_ptr<GpuDevice> gpu(new GpuDevice);
    GS_TRY_VOID(gpu->make_instance(options));
    if (options.make_surface) GS_VK(options.make_surface(gpu->m_instance, &gpu->m_surface));
    GS_TRY_VOID(gpu->choose_physical());
    GS_TRY_VOID(gpu->make_device());
    return gpu;
}

GpuDevice::~GpuDevice() {
    if (m_device) vkDestroyDevice(m_device, nullptr);
    if (m_surface) vkDestroySurfaceKHR(m_instance, m_surface, nullptr);
    if (m_messenger) {
        const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
            vkGetInstanceProcAddr(m_instance, "vkDestroyDebugUtilsMessengerEXT"));
        destroy(m_instance, m_messenger, nullptr);
    }
    if (m_instance) vkDestroyInstance(m_instance, nullptr);
}

static bool has_validation_layer() {
    uint32_t count = 0;
    vkEnumerateInstanceLayerProperties(&count, nullptr);
    std::vector<VkLayerProperties> layers(count);
    vkEnumerateInstanceLayerProperties(&count, layers.data());
    for (const VkLayerProperties& layer : layers)
        if (std::strcmp(layer.layerName, kValidationLayer) == 0) return true;
    return false;
}

gs::Result<void> GpuDevice::make_instance(const GpuOptions& options) {
    VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO};
    application.pApplicationName = "Gatescope";
    application.apiVersion = VK_API_VERSION_1_2;
    VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    info.pApplicationInfo = &application;
    std::vector<const char*> extensions = options.instance_extensions;

    VkDebugUtilsMessengerCreateInfoEXT messenger{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
    messenger.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
    messenger.pfnUserCallback = count_message;
    messenger.pUserData = &m_validation_messages;
    const VkValidationFeatureEnableEXT enabled[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features{VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT};
    features.enabledValidationFeatureCount = 1;
    features.pEnabledValidationFeatures = enabled;
    if (options.validation) {
        if (!has_validation_layer())
            return gs::Error{gs::ErrorKind::kDevice, "no_validation_layer", "Cannot check Vulkan calls",
                             "the validation layer is not installed",
                             "Install the package vulkan-validationlayers, or start without validation"};
        extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &kValidationLayer;
        info.pNext = &features;
        features.pNext = &messenger;                            // also covers the making and the end of the instance itself
    }
    info.enabledExtensionCount = uint32_t(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    if (const VkResult made = vkCreateInstance(&info, nullptr, &m_instance); made < 0)
        return gs::Error{gs::ErrorKind::kDevice, "no_vulkan", "Cannot start Vulkan",
                         "no usable driver was found, VkResult " + std::to_string(made),
                         "Install a Vulkan driver; the package mesa-vulkan-drivers has one that needs no graphics card"};
    if (options.validation) {
        const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
            vkGetInstanceProcAddr(m_instance, "vkCreateDebugUtilsMessengerEXT"));
        GS_VK(create(m_instance, &messenger, nullptr, &m_messenger));
    }
    return {};
}

/// Higher is better; -1: not usable.
static int preference(const VkPhysicalDeviceProperties& properties) {
    if (properties.apiVersion < VK_API_VERSION_1_2) return -1;
    switch (properties.deviceType) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return 4;
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return 3;
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return 2;
        case VK_PHYSICAL_DEVICE_TYPE_CPU: return 1;
        default: return 0;
    }
}

/// First queue family that draws and, where there is a surface, presents to it; -1 if none.
static int drawing_family(VkPhysicalDevice device, VkSurfaceKHR surface) {
    uint32_t count = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vkGetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    for (uint32_t i = 0; i < count; ++i) {
        VkBool32 presents = VK_TRUE;
        if (surface && vkGetPhysicalDeviceSurfaceSupportKHR(device, i, surface, &presents) != VK_SUCCESS) presents = VK_FALSE;
        if ((families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) && presents) return int(i);
    }
    return -1;
}

gs::Result<void> GpuDevice::choose_physical() {
    uint32_t count = 0;
    GS_VK(vkEnumeratePhysicalDevices(m_instance, &count, nullptr));
    std::vector<VkPhysicalDevice> devices(count);
    GS_VK(vkEnumeratePhysicalDevices(m_instance, &count, devices.data()));
    int best = -1;
    for (VkPhysicalDevice device : devices) {
        VkPhysicalDeviceProperties properties;
        vkGetPhysicalDeviceProperties(device, &properties);
        const int family = drawing_family(device, m_surface);
        if (family < 0 || preference(properties) <= best) continue;
        best = preference(properties);
        m_physical = device;
        m_properties = properties;
        m_family = uint32_t(family);
    }
    if (!m_physical)
        return gs::Error{gs::ErrorKind::kDevice, "no_gpu", "No graphics device can be used",
                         std::to_string(count) + " found, none has Vulkan 1.2 and can draw" + (m_surface ? " to this display" : ""),
                         "Update the graphics driver, or install mesa-vulkan-drivers for a software one"};
    vkGetPhysicalDeviceMemoryProperties(m_physical, &m_memory);
    return {};
}

static bool has_extension(VkPhysicalDevice device, const char* name) {
    uint32_t count = 0;
    if (vkEnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr) != VK_SUCCESS) return false;
    std::vector<VkExtensionProperties> extensions(count);
    if (vkEnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data()) < 0) return false;
    return std::any_of(extensions.begin(), extensions.end(), [&](const VkExtensionProperties& e) { return std::strcmp(e.extensionName, name) == 0; });
}

gs::Result<void> GpuDevice::make_device() {
    const float priority = 1;
    VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO};
    queue.queueFamilyIndex = m_family;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    std::vector<const char*> extensions;
    if (m_surface) extensions.push_back(VK_KHR_SWAPCHAIN_EXTENSION_NAME);
    m_exports_memory = has_extension(m_physical, VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME);
    if (m_exports_memory) extensions.push_back(VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME);
    VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO};
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = uint32_t(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    GS_VK(vkCreateDevice(m_physical, &info, nullptr, &m_device));
    vkGetDeviceQueue(m_device, m_family, 0, &m_queue);
    VkPhysicalDeviceIDProperties id{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES};
    VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &id};
    vkGetPhysicalDeviceProperties2(m_physical, &properties);
    std::copy_n(id.deviceUUID, m_uuid.size(), m_uuid.begin());
    return {};
}

int GpuDevice::memory_type(uint32_t allowed, VkMemoryPropertyFlags wanted) const {
    for (uint32_t i = 0; i < m_memory.memoryTypeCount; ++i)
        if ((allowed >> i & 1) && (m_memory.memoryTypes[i].propertyFlags & wanted) == wanted) return int(i);
    return -1;
}

void GpuDevice::wait_idle() const { vkDeviceWaitIdle(m_device); }

}  // namespace app
