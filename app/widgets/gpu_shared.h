// Memory that the engine writes routing into and heatmaps are drawn from, where both are on one device (engine/routing/shared_routing.h). Asked for by the
// engine's thread, drawn from by the window's.
//
// A frame holds on to what it draws from while it is recorded and drawn; another run waits for that before it overwrites anything.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "app/widgets/gpu_device.h"
#include "engine/routing/shared_routing.h"

namespace app {

/// Values of a run in the shared memory: experts of one MoE layer, position by position.
struct SharedCells {
    uint64_t run = 0, memory_id = 0;
    VkBuffer buffer = VK_NULL_HANDLE;
    uint32_t first = 0;                          ///< float of position 0, expert 0; a position has E of them
    bool operator==(const SharedCells&) const = default;
};

/// What another interface wrote is seen from here on, or what is written from here on does not disturb reads before.
void take_over(VkCommandBuffer commands, VkBuffer buffer, uint32_t from_family, uint32_t to_family);

class GpuShared final : public gs::RoutingViewer {
public:
    /// why_not: why nothing is to be shared; empty: share where it can be done. The device outlives detach().
    GpuShared(const GpuDevice& gpu, std::string why_not) : m_gpu(&gpu), m_why_not(std::move(why_not)) {}
    ~GpuShared() override { detach(); }

    // --- The engine's thread ---
    gs::Result<gs::DeviceUuid> device() const override;
    uint64_t most_bytes() const override;
    gs::Result<gs::SharedMemory> allocate(const gs::SharedLayout& layout) override;
    bool begin_run(uint64_t memory_id, uint64_t run) override;
    void close(uint64_t memory_id) override;

    // --- The window's thread ---
    /// None where those are not all there.
    std::optional<SharedCells> cells(uint64_t run, gs::SharedLayout::Plane plane, int moe_layer, int n_positions, int n_experts) const;
    /// Holds them until let_go(); false when they are another run's by now.
    bool hold(const SharedCells& cells);
    bool is_held() const;
    void let_go();                               ///< when the device is done with the frame
    void free_unused();                          ///< what was given up, between two frames
    /// Gives everything back: the graphics device is about to go.
    void detach();

private:
    struct Piece {
        VkBuffer buffer = VK_NULL_HANDLE;
        VkDeviceMemory memory = VK_NULL_HANDLE;
    };
    gs::Result<void> make(Piece& piece, gs::SharedMemory& out, uint64_t n_bytes) const;
    void free(Piece& piece) const;
    void give_up();

    const GpuDevice* m_gpu;                      ///< null after detach()
    const std::string m_why_not;
    mutable std::mutex m_mutex;                  ///< of all below
    std::condition_variable m_was_let_go;
    Piece m_piece;
    std::vector<Piece> m_given_up;
    gs::SharedLayout m_layout;
    uint64_t m_memory_id = 0, m_run = 0;         ///< m_run 0: nothing may be drawn
    bool m_held = false;
};

}  // namespace app
