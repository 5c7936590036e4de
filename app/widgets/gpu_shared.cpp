#include "app/widgets/gpu_shared.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace app {

static constexpr VkExternalMemoryHandleTypeFlagBits kHandle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
static constexpr uint64_t kMostBytes = 256u << 20;           // of a device that the model and its context are on
static constexpr std::chrono::milliseconds kLongestFrame{500};

static gs::Error cannot(const std::string& why) { return {gs::ErrorKind::kDevice, "not_shared", "Routing is not shared with the engine", why, ""}; }

void take_over(VkCommandBuffer commands, VkBuffer buffer, uint32_t from_family, uint32_t to_family) {
    const bool acquires = from_family == VK_QUEUE_FAMILY_EXTERNAL;
    VkBufferMemoryBarrier barrier{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
    barrier.dstAccessMask = acquires ? VK_ACCESS_SHADER_READ_BIT : 0;
    barrier.srcQueueFamilyIndex = from_family;
    barrier.dstQueueFamilyIndex = to_family;
    barrier.buffer = buffer;
    barrier.size = VK_WHOLE_SIZE;
    const VkPipelineStageFlags outside = acquires ? VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT : VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT;
    const VkPipelineStageFlags inside = VK_PIPELINE_STAGE_FRAGMENT_SHADER_BIT;
    vkCmdPipelineBarrier(commands, acquires ? outside : inside, acquires ? inside : outside, 0, 0, nullptr, 1, &barrier, 0, nullptr);
}

gs::Result<gs::DeviceUuid> GpuShared::device() const {
    const std::lock_guard lock(m_mutex);
    if (!m_why_not.empty()) return cannot(m_why_not);
    if (!m_gpu || !m_gpu->exports_memory()) return cannot("the graphics driver does not share memory");
    return m_gpu->uuid();
}

uint64_t GpuShared::most_bytes() const {
    const std::lock_guard lock(m_mutex);
    return m_gpu ? std::min<uint64_t>(kMostBytes, m_gpu->properties().limits.maxStorageBufferRange) : 0;
}

gs::Result<void> GpuShared::make(Piece& piece, gs::SharedMemory& out, uint64_t n_bytes) const {
    VkPhysicalDeviceExternalBufferInfo asked{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO};
    asked.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    asked.handleType = kHandle;
    VkExternalBufferProperties can{VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES};
    vkGetPhysicalDeviceExternalBufferProperties(m_gpu->physical(), &asked, &can);
    const VkExternalMemoryFeatureFlags features = can.externalMemoryProperties.externalMemoryFeatures;
    if (!(features & VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT)) return cannot("the graphics driver does not share such memory");

    VkExternalMemoryBufferCreateInfo shared{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    shared.handleTypes = kHandle;
    VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, &shared};
    info.size = n_bytes;
    info.usage = asked.usage;
    GS_VK(vkCreateBuffer(m_gpu->handle(), &info, nullptr, &piece.buffer));
    VkMemoryDedicatedRequirements dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_REQUIREMENTS};
    VkMemoryRequirements2 needs{VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2, &dedicated};
    const VkBufferMemoryRequirementsInfo2 of{VK_STRUCTURE_TYPE_BUFFER_MEMORY_REQUIREMENTS_INFO_2, nullptr, piece.buffer};
    vkGetBufferMemoryRequirements2(m_gpu->handle(), &of, &needs);
    out.n_bytes = needs.memoryRequirements.size;
    out.dedicated = (features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) || dedicated.prefersDedicatedAllocation || dedicated.requiresDedicatedAllocation;

    VkMemoryDedicatedAllocateInfo alone{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    alone.buffer = piece.buffer;
    VkExportMemoryAllocateInfo exported{VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, out.dedicated ? &alone : nullptr, kHandle};
    VkMemoryAllocateInfo memory{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &exported, out.n_bytes};
    const int type = m_gpu->memory_type(needs.memoryRequirements.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    if (type < 0) return cannot("the graphics driver has no memory of the device to share");
    memory.memoryTypeIndex = uint32_t(type);
    GS_VK(vkAllocateMemory(m_gpu->handle(), &memory, nullptr, &piece.memory));
    GS_VK(vkBindBufferMemory(m_gpu->handle(), piece.buffer, piece.memory, 0));
    const auto get_fd = reinterpret_cast<PFN_vkGetMemoryFdKHR>(vkGetDeviceProcAddr(m_gpu->handle(), "vkGetMemoryFdKHR"));
    const VkMemoryGetFdInfoKHR wanted{VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR, nullptr, piece.memory, kHandle};
    if (!get_fd) return cannot("the graphics driver does not share memory");
    GS_VK(get_fd(m_gpu->handle(), &wanted, &out.fd));
    return {};
}

void GpuShared::free(Piece& piece) const {
    if (piece.buffer) vkDestroyBuffer(m_gpu->handle(), piece.buffer, nullptr);
    if (piece.memory) vkFreeMemory(m_gpu->handle(), piece.memory, nullptr);
    piece = {};
}

/// Not freed yet: the window's thread may be about to record from it.
void GpuShared::give_up() {
    m_run = m_memory_id = 0;
    if (m_piece.buffer) m_given_up.push_back(std::exchange(m_piece, {}));
}

gs::Result<gs::SharedMemory> GpuShared::allocate(const gs::SharedLayout& layout) {
    static std::atomic<uint64_t> n_made{0};
    const std::lock_guard lock(m_mutex);
    if (!m_gpu) return cannot("the window is closed");
    give_up();
    if (layout.n_positions <= 0) return cannot("not even one token's routing fits");
    Piece piece;
    gs::SharedMemory memory;
    if (auto made = make(piece, memory, layout.n_floats() * sizeof(float)); !made) {
        free(piece);
        return cannot(made.error().why);
    }
    m_piece = piece;
    m_layout = layout;
    memory.id = m_memory_id = ++n_made;
    return memory;
}

bool GpuShared::begin_run(uint64_t memory_id, uint64_t run) {
    std::unique_lock lock(m_mutex);
    if (memory_id != m_memory_id) return false;
    m_run = 0;
    // A frame takes milliseconds. One that does not end keeps the run from here, not from running.
    if (!m_was_let_go.wait_for(lock, kLongestFrame, [this] { return !m_held; }) || memory_id != m_memory_id) return false;
    m_run = run;
    return true;
}

void GpuShared::close(uint64_t memory_id) {
    const std::lock_guard lock(m_mutex);
    if (memory_id == m_memory_id) give_up();
}

std::optional<SharedCells> GpuShared::cells(uint64_t run, gs::SharedLayout::Plane plane, int moe_layer, int n_positions, int n_experts) const {
    const std::lock_guard lock(m_mutex);
    const gs::SharedLayout& l = m_layout;
    const bool is_there = m_run != 0 && run == m_run && moe_layer >= l.first_moe_layer && moe_layer < l.first_moe_layer + l.n_layers &&
                          n_positions <= l.n_positions && n_experts == l.n_experts;
    if (!is_there) return std::nullopt;
    return SharedCells{run, m_memory_id, m_piece.buffer, uint32_t(l.at(plane, moe_layer, 0))};
}

bool GpuShared::hold(const SharedCells& cells) {
    const std::lock_guard lock(m_mutex);
    if (m_run == 0 || m_run != cells.run || m_memory_id != cells.memory_id) return false;
    m_held = true;
    return true;
}

bool GpuShared::is_held() const {
    const std::lock_guard lock(m_mutex);
    return m_held;
}

void GpuShared::let_go() {
    {
        const std::lock_guard lock(m_mutex);
        m_held = false;
    }
    m_was_let_go.notify_all();
}

void GpuShared::free_unused() {
    const std::lock_guard lock(m_mutex);
    for (Piece& piece : m_given_up) free(piece);
    m_given_up.clear();
}

void GpuShared::detach() {
    let_go();
    const std::lock_guard lock(m_mutex);
    if (!m_gpu) return;
    give_up();
    for (Piece& piece : m_given_up) free(piece);
    m_given_up.clear();
    m_gpu = nullptr;
}

}  // namespace app
