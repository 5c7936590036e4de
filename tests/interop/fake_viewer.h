// A viewer without a graphics device: a file in memory, laid out as the software driver lays it out.
#pragma once

#include <cstring>
#include <functional>
#include <memory>

#include "tests/interop/mapped_file.h"

namespace app::test {

class FakeViewer final : public gs::RoutingViewer {
public:
    static constexpr uint64_t kDataAt = 4096;

    gs::Result<gs::DeviceUuid> device() const override { return uuid; }
    uint64_t most_bytes() const override { return room; }
    gs::Result<gs::SharedMemory> allocate(const gs::SharedLayout& wanted) override {
        layout = wanted;
        gs::SharedMemory memory{.fd = memfd_create("shared routing", 0), .n_bytes = wanted.n_floats() * sizeof(float), .id = ++id};
        if (ftruncate(memory.fd, static_cast<off_t>(kDataAt + memory.n_bytes)) != 0) return gs::Error{gs::ErrorKind::kDevice, "no_file", "", "there is no file", ""};
        const uint64_t header[] = {memory.n_bytes, kDataAt};
        if (pwrite(memory.fd, header, sizeof header, 0) != sizeof header) return gs::Error{gs::ErrorKind::kDevice, "no_file", "", "there is no file", ""};
        file = std::make_unique<MappedFile>(memory);
        return memory;
    }
    bool begin_run(uint64_t memory_id, uint64_t begun) override {
        runs.push_back(begun);
        return memory_id == id && !busy;
    }
    void close(uint64_t memory_id) override { closed = memory_id; }
    std::span<const float> at(gs::SharedLayout::Plane plane, int moe_layer, int position) const {
        return file->floats(layout.n_floats()).subspan(layout.at(plane, moe_layer, position), static_cast<size_t>(layout.n_experts));
    }

    gs::DeviceUuid uuid{};
    uint64_t room = uint64_t{1} << 26, id = 0, closed = 0;
    std::vector<uint64_t> runs;
    bool busy = false;
    gs::SharedLayout layout;
    std::unique_ptr<MappedFile> file;
};

}  // namespace app::test
