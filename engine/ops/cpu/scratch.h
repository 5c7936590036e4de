// Memory that an operation needs while it runs, kept from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

#include "engine/core/check.h"

namespace gs::cpu {

/// Frees what allocate_aligned gave.
struct AlignedDelete {
    void operator()(std::byte* p) const {
        void* whole = nullptr;
        if (p) std::memcpy(&whole, p - sizeof whole, sizeof whole);
        std::free(whole);
    }
};

/// Zeroed bytes aligned to 64; null when there are none. From calloc, which takes large blocks untouched from the system: the pages of a long
/// context cost nothing before a token is stored in them.
inline std::byte* allocate_aligned(size_t n_bytes) {
    constexpr size_t kAlign = 64;
    if (n_bytes > std::numeric_limits<ptrdiff_t>::max() - 2 * kAlign) return nullptr;
    void* whole = std::calloc(1, n_bytes + 2 * kAlign);
    if (!whole) return nullptr;
    const auto at = (reinterpret_cast<uintptr_t>(whole) + sizeof whole + kAlign - 1) / kAlign * kAlign;
    auto* p = reinterpret_cast<std::byte*>(at);
    std::memcpy(p - sizeof whole, &whole, sizeof whole);
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
