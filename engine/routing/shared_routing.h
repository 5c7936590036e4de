// Routing where a program that draws on the same device reads it: in memory that it gives, so that what is drawn need not go through the host.
//
// The engine knows nothing of how anything is drawn. It is given memory as a file descriptor, writes what each position was routed to behind the
// operations that routed it, and says whose run lies there. A position's values are there by the time that its routing has reached the host: whoever
// learns of a token the ordinary way finds it.
#pragma once

#include <array>
#include <cstdint>

#include "engine/core/result.h"
#include "engine/routing/router.h"

namespace gs {

/// [2, n_layers, n_positions, E] f32. First the applied weights, NaN where an expert was not chosen, then the preference at temperature 1, both as the
/// host has them, to the bit.
struct SharedLayout {
    enum Plane { kWeights, kPreference };
    static constexpr uint64_t kPlanes = 2;
    int first_moe_layer = 0, n_layers = 0;       ///< MoE layers of the model
    int n_positions = 0, n_experts = 0;
    uint64_t n_floats() const { return kPlanes * at(kPreference, first_moe_layer, 0); }
    /// Where the experts of one position begin, in floats.
    uint64_t at(Plane plane, int moe_layer, int position) const {
        const auto u = [](int n) { return static_cast<uint64_t>(n); };
        const uint64_t layer = plane * u(n_layers) + u(moe_layer - first_moe_layer);
        return (layer * u(n_positions) + u(position)) * u(n_experts);
    }
    /// The same with as many of n_ctx positions as most_bytes hold.
    SharedLayout within(uint64_t most_bytes, int n_ctx) const;
};

/// Opaque memory of a graphics interface (VkMemoryGetFdInfoKHR).
struct SharedMemory {
    int fd = -1;                                 ///< the receiver's to close, or to hand on
    uint64_t n_bytes = 0;                        ///< of the allocation, no less than the layout's
    bool dedicated = false;                      ///< made for one buffer
    uint64_t id = 0;
};

using DeviceUuid = std::array<uint8_t, 16>;

/// Whoever draws. Called from the engine's thread; Error::why is a part of a sentence.
class RoutingViewer {
public:
    virtual ~RoutingViewer() = default;
    /// What it draws on. Errors: it cannot share memory.
    virtual Result<DeviceUuid> device() const = 0;
    virtual uint64_t most_bytes() const = 0;
    /// In place of what was there before, from which nothing is drawn any more.
    virtual Result<SharedMemory> allocate(const SharedLayout& layout) = 0;
    /// From now on what lies there is `run`'s. Waits for what is being drawn of another run; false when that does not end, and then nothing may be written.
    virtual bool begin_run(uint64_t memory_id, uint64_t run) = 0;
    /// Nothing will be written there any more, and it may not be drawn either.
    virtual void close(uint64_t memory_id) = 0;
};

/// Whether a device makes that preference as the host does, to the bit: it does where it needs exact arithmetic only, and no library.
inline bool has_shared_preference(ScoreFn score) { return score != ScoreFn::kSqrtSoftplus; }

inline SharedLayout SharedLayout::within(uint64_t most_bytes, int n_ctx) const {
    SharedLayout fitted = *this;
    fitted.n_positions = 1;
    const uint64_t position_bytes = fitted.n_floats() * sizeof(float), most = most_bytes / (position_bytes > 0 ? position_bytes : 1);
    fitted.n_positions = most < static_cast<uint64_t>(n_ctx) ? static_cast<int>(most) : n_ctx;
    return fitted;
}

}  // namespace gs
