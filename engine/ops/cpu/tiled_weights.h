// Copies of a model's weights in the layout that the product likes best (vnni_tiles.h), found by where the originals are.
#pragma once

#include <memory>
#include <new>
#include <span>
#include <vector>

#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/thread_pool.h"

namespace gs::cpu {

class TiledWeights {
public:
    /// Copying a larger model would take longer than it takes to start answering from the file.
    static constexpr size_t kMostBytes = size_t{1} << 30;

    /// Replaces what it held by copies of those that the kernels have tiles for; none when all of these take more than kMostBytes or there is
    /// no memory. Returns the originals.
    std::vector<std::span<const std::byte>> build(std::span<const Weight> weights, const Kernels& kernels, ThreadPool& pool);
    /// The copy of w, or w itself. One of a stack's slabs may be asked for.
    Weight find(const Weight& w) const;

private:
    static constexpr std::align_val_t kPage{size_t{2} << 20};   ///< large pages where the system has them: fewer to look up
    struct Release {
        void operator()(std::byte* p) const { ::operator delete(p, kPage); }
    };
    struct Copy {
        const std::byte *begin, *end;   ///< of the original
        std::byte* tiles;
    };
    std::unique_ptr<std::byte, Release> m_memory;
    std::vector<Copy> m_copies;         ///< ascending by begin
};

}  // namespace gs::cpu
