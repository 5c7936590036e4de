// The weights of a model on the device: matrices rearranged (device_weight.h), vectors as f32.
//
// Those that adopt() was given lie there as long as their owner lives. Any other is copied for the operation that names it and then forgotten, because
// nothing says how long its memory holds the same values: right, but slow.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/ops/cuda/device_memory.h"
#include "engine/ops/cuda/device_weight.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

class WeightStore {
public:
    WeightStore(ErrorLog& errors, cudaStream_t stream) : m_errors(errors), m_stream(stream) {}
    ~WeightStore() { clear(); }
    WeightStore(const WeightStore&) = delete;
    WeightStore& operator=(const WeightStore&) = delete;

    /// What adopt() takes for w.
    static size_t n_bytes_of(const Weight& w);

    /// Copies all that is not here yet from the same owner; gives up at the first that finds no memory, which is noted, and when `progress`, which this
    /// thread calls every few megabytes, returns false: then nothing is kept, and the result is false. `matrices` are multiplied with; of `others` those of one row a slab are vectors.
    bool adopt(std::span<const Weight> matrices, std::span<const Weight> others, const std::shared_ptr<const void>& owner, const AdoptProgress& progress);

    /// w on the device, from slab 0 of w on, for all of its slabs.
    DeviceMatrix matrix(const Weight& w);
    /// A vector, or one a slab, slabs [slab * n_in]; null for an empty one.
    const float* vector(const Weight* w);
    /// Frees what was copied for one operation.
    void end_operation();
    size_t n_bytes() const { return m_bytes; }
    /// How many were copied for one operation, ever.
    uint64_t n_passing() const { return m_n_passing; }

private:
    struct Kept {
        Weight shape;                  ///< as it was adopted
        DeviceMatrix matrix;
    };
    struct Place {
        size_t which;
        int slab;
    };
    /// How far an adopt() is.
    struct Way {
        const AdoptProgress& progress;
        uint64_t done = 0, total = 0;
        /// False: no further.
        bool went(uint64_t n_bytes);
    };
    void clear();
    uint64_t n_missing(std::span<const Weight> matrices, std::span<const Weight> others) const;
    std::byte* allocate(size_t n_bytes, std::vector<void*>& pieces);
    bool upload(const Weight& w, DeviceMatrix& matrix, std::vector<void*>& pieces, Way& way);
    void copy_rows(const Weight& w, int slab, int first_row, int n_rows, const std::byte* packed, std::byte* to);
    const float* upload_vector(const Weight& w, std::vector<void*>& pieces);
    bool is_current() const { return !m_owner.expired(); }

    ErrorLog& m_errors;
    cudaStream_t m_stream;
    std::weak_ptr<const void> m_owner;
    std::vector<void*> m_pieces, m_passing;
    std::vector<Kept> m_matrices;
    std::unordered_map<const std::byte*, Place> m_matrix_at;            // of every slab
    std::unordered_map<const std::byte*, const float*> m_vector_at;     // of every slab
    size_t m_bytes = 0;
    uint64_t m_n_passing = 0;
};

}  // namespace gs::cuda
