// How a trace lies in memory; private to engine/routing.
//
// One thread appends, any number of readers look at rows below the count their snapshot was made with. Nothing that a reader can reach ever
// moves: chunks and policies live in segments that are allocated once, and the published count is stored last (release) and read first
// (acquire). No lock is needed.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <vector>

#include "engine/routing/trace.h"

namespace gs {

/// A growing array whose elements stay where they are: segment s holds 2^s of them.
template <class T>
class StableArray {
public:
    const T& operator[](size_t i) const { return m_segments[segment(i)][offset(i)]; }
    T& operator[](size_t i) { return m_segments[segment(i)][offset(i)]; }
    /// Makes element i exist. Elements come in order. Writer only.
    T& make(size_t i) {
        const size_t s = segment(i);
        if (!m_segments[s]) m_segments[s] = std::make_unique<T[]>(size_t{1} << s);
        return (*this)[i];
    }

private:
    static size_t segment(size_t i) { return static_cast<size_t>(std::bit_width((i + 1) | 1)) - 1; }
    static size_t offset(size_t i) { return i + 1 - (size_t{1} << segment(i)); }
    std::array<std::unique_ptr<T[]>, 32> m_segments;
};

/// A fixed number of token rows.
class TraceChunk {
public:
    static constexpr int kRows = 64;

    /// The experts of one token in all MoE layers, in the order in which set_route() came.
    struct Routes {
        std::vector<uint16_t> ids;
        std::vector<float> weights;
    };
    struct Slot {
        uint32_t offset = 0;  ///< into Routes
        uint16_t k = kNotSet;
        static constexpr uint16_t kNotSet = 0xffff;
    };

    std::array<TokenRow, kRows> tokens;
    std::array<Routes, kRows> routes;
    std::vector<Slot> slots;           ///< [kRows, M]
    std::shared_ptr<float[]> logits;   ///< [kRows, M, E]; shared with what-ifs of the same run; null where the run has none
};

struct TraceShared {
    TraceInfo info;
    uint64_t serial = 0;               ///< distinct for every trace of the process
    StableArray<TraceChunk> chunks;
    StableArray<Policy> policies;
    std::atomic<int> n_published{0};
    std::vector<float> no_logits;      ///< [E] NaN, where the run has none

    explicit TraceShared(TraceInfo info);
    const TraceChunk& chunk_of(int token) const { return chunks[static_cast<size_t>(token) / TraceChunk::kRows]; }
    TraceChunk& chunk_of(int token) { return chunks[static_cast<size_t>(token) / TraceChunk::kRows]; }
    /// Row of (token, MoE layer) in the slots and logits of its chunk.
    size_t row_of(int moe_layer, int token) const {
        return static_cast<size_t>(token % TraceChunk::kRows) * static_cast<size_t>(info.n_moe_layers()) + static_cast<size_t>(moe_layer);
    }
    uint64_t revision(int n_tokens) const { return serial << 32 | static_cast<uint32_t>(n_tokens); }
    /// Appends one route of a row that no reader sees yet.
    void set_route(int moe_layer, int token, std::span<const int32_t> ids, std::span<const float> weights);
};

}  // namespace gs
