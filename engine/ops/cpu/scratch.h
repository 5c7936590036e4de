// Memory that an operation needs while it runs, kept from call to call.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#include "engine/core/check.h"

namespace gs::cpu {

struct AlignedDelete {
    void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{64}); }
};

/// Zeroed bytes aligned to 64; null when there are none.
inline std::byte* allocate_aligned(size_t n_bytes) {
    auto* p = static_cast<std::byte*>(::operator new((n_bytes + 63) / 64 * 64, std::align_val_t{64}, std::nothrow));
    if (p) std::memset(p, 0, (n_bytes + 63) / 64 * 64);
    return p;
}

class Scratch {
public:
    /// At least n_bytes, aligned to 64; what it held may be gone.
    std::byte* reserve(size_t n_bytes) {
        if (n_bytes > m_size || !m_memory) {
            m_memory.reset();
            m_size = n_bytes + n_bytes / 4 + 64;
            m_memory.reset(allocate_aligned(m_size));
            GS_CHECK(m_memory, "no memory left for an operation's intermediate values");
        }
        return m_memory.get();
    }
    float* floats(size_t n) { return reinterpret_cast<float*>(reserve(n * sizeof(float))); }

private:
    std::unique_ptr<std::byte, AlignedDelete> m_memory;
    size_t m_size = 0;
};

}  // namespace gs::cpu
