#include "engine/ops/cpu/tiled_weights.h"

#include <algorithm>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace gs::cpu {

std::vector<std::span<const std::byte>> TiledWeights::build(std::span<const Weight> weights, const Kernels& kernels, ThreadPool& pool) {
    m_copies.clear();
    m_memory.reset();
    if (!kernels.tile) return {};
    std::vector<Weight> wanted;
    for (const Weight& w : weights)
        if (w && has_tiles(w.type) && w.n_out % kRowsPerTile == 0 && w.slab_gap == 0) wanted.push_back(w);
    std::sort(wanted.begin(), wanted.end(), [](const Weight& a, const Weight& b) { return a.data < b.data; });
    wanted.erase(std::unique(wanted.begin(), wanted.end(), [](const Weight& a, const Weight& b) { return a.data == b.data; }), wanted.end());
    constexpr size_t kLine = 64;
    const auto room = [](const Weight& w) { return (w.n_bytes() + kLine - 1) / kLine * kLine; };
    constexpr size_t kBehind = 8192;   // products ask for some bytes ahead
    size_t n_bytes = kBehind;
    for (const Weight& w : wanted) {
        if (w.n_bytes() > kMostBytes - n_bytes) return {};
        n_bytes += room(w);
    }
    m_memory.reset(static_cast<std::byte*>(::operator new(n_bytes, kPage, std::nothrow)));
    if (!m_memory || wanted.empty()) return {};
#if defined(__linux__)
    (void)madvise(m_memory.get(), n_bytes, MADV_HUGEPAGE);   // no more than a wish
#endif
    struct Task {
        const Weight* from;
        int slab;
        std::byte* to;
    };
    std::vector<Task> tasks;
    std::vector<std::span<const std::byte>> originals;
    std::byte* to = m_memory.get();
    for (const Weight& w : wanted) {
        m_copies.push_back({w.data, w.data + w.n_bytes(), to});
        originals.emplace_back(w.data, w.n_bytes());
        for (int s = 0; s < w.n_slabs; ++s) tasks.push_back({&w, s, to + w.slab_bytes() * static_cast<size_t>(s)});
        to += room(w);
    }
    pool.run(static_cast<int>(tasks.size()), [&](int i, int) {
        const Task& task = tasks[static_cast<size_t>(i)];
        kernels.tile(task.from->slab(task.slab), 0, task.from->n_out, task.to);
    });
    return originals;
}

Weight TiledWeights::find(const Weight& w) const {
    const auto after = std::upper_bound(m_copies.begin(), m_copies.end(), w.data, [](const std::byte* p, const Copy& copy) { return p < copy.begin; });
    if (after == m_copies.begin()) return w;
    const Copy& copy = *(after - 1);
    if (w.data + w.n_bytes() > copy.end) return w;
    Weight found = w;
    found.data = copy.tiles + (w.data - copy.begin);
    found.tiled = true;
    return found;
}

}  // namespace gs::cpu
