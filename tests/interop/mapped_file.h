// Memory that the software Vulkan driver has exported, as the host sees it; of another driver it cannot be mapped.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <span>

#include "engine/routing/shared_routing.h"

namespace app::test {

class MappedFile {
public:
    explicit MappedFile(const gs::SharedMemory& memory) {
        struct stat file {};
        if (fstat(memory.fd, &file) != 0) return;
        m_bytes = static_cast<size_t>(file.st_size);
        m_file = mmap(nullptr, m_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
        if (m_file == MAP_FAILED) m_file = nullptr;
    }
    ~MappedFile() {
        if (m_file) munmap(m_file, m_bytes);
    }
    MappedFile(const MappedFile&) = delete;
    explicit operator bool() const { return m_file != nullptr; }
    /// Mesa's header: the size asked for, then where the data begins.
    std::span<float> floats(uint64_t n) const {
        auto* base = static_cast<std::byte*>(m_file);
        return {reinterpret_cast<float*>(base + static_cast<const uint64_t*>(m_file)[1]), n};
    }

private:
    void* m_file = nullptr;
    size_t m_bytes = 0;
};

}  // namespace app::test
