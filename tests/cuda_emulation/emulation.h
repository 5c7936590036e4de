// What tests can set about the emulated device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cuda_emulation {

/// Seed of the order of threads and blocks. Every launch draws on.
void set_seed(uint64_t seed);

/// Work on streams waits until something synchronises, as on a device that is behind: reading a result too early, or reusing the host memory
/// of a copy from page-locked memory, shows. Off: work is done at once.
void set_deferred(bool deferred);

struct Device {
    int n_devices = 1;
    size_t memory = size_t{8} << 30;
    int major = 8, minor = 0;
    int n_processors = 4;
    std::array<uint8_t, 16> uuid{};
};
/// The device that programs see from now on.
void set_device(const Device& device);

/// The n-th runtime call from now, and all later ones, fail as they do when a device is lost; 0: none.
void lose_device_after(uint64_t n_calls);

/// Whether memory of other interfaces is refused, and how many pieces of it are imported.
void refuse_imports(bool refuse);
size_t n_imported();

struct Counters {
    uint64_t launches = 0, blocks = 0, fiber_switches = 0;
    size_t bytes_in_use = 0;
    uint64_t graphs_made = 0, graph_launches = 0;
    uint64_t copies = 0, waits = 0;        ///< copies asked for; calls that return only when the device has caught up
};
Counters counters();
/// With GATESCOPE_EMULATION_PROFILE set, the program ends with a table on stderr: what each place of launch cost.

}  // namespace cuda_emulation
