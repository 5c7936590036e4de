#include "engine/ops/cuda/weight_store.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "engine/model/tensor_type.h"

namespace gs::cuda {

void WeightStore::clear() {
    end_operation();
    for (void* piece : m_pieces) (void)cudaFree(piece);
    m_pieces.clear();
    m_matrices.clear();
    m_matrix_at.clear();
    m_vector_at.clear();
    m_bytes = 0;
}

void WeightStore::end_operation() {
    for (void* piece : m_passing) (void)cudaFree(piece);   // waits for the kernels that read it
    m_passing.clear();
}

std::byte* WeightStore::allocate(size_t n_bytes, std::vector<void*>& pieces) {
    void* memory = nullptr;
    if (!m_errors.ok(cudaMalloc(&memory, std::max<size_t>(n_bytes, 16)), "memory for weights")) return nullptr;
    pieces.push_back(memory);
    return static_cast<std::byte*>(memory);
}

bool WeightStore::upload(const Weight& w, DeviceMatrix& matrix, std::vector<void*>& pieces) {
    matrix = device_shape(w);
    std::byte* to = allocate(matrix.n_bytes(), pieces);
    if (!to) return false;
    matrix.data = to;
    // Rearranging takes longer than copying: several slabs at once, where there is enough of them.
    constexpr size_t kForkBytes = 4 << 20;
    const int n_cores = matrix.n_bytes() < kForkBytes ? 1 : static_cast<int>(std::thread::hardware_concurrency());
    const int n_threads = std::clamp(std::min(n_cores, w.n_slabs), 1, 8);
    std::atomic<int> next{0};
    std::mutex copying;
    int device = 0;
    (void)cudaGetDevice(&device);
    const auto work = [&] {
        std::vector<uint4> packed(matrix.slab_bytes / sizeof(uint4) + 1);
        auto* bytes = reinterpret_cast<std::byte*>(packed.data());
        for (int s = next++; s < w.n_slabs; s = next++) {
            pack_slab(w, s, bytes);
            const std::lock_guard lock(copying);
            (void)cudaSetDevice(device);   // a thread has its own
            m_errors.ok(cudaMemcpyAsync(to + matrix.slab_bytes * static_cast<size_t>(s), bytes, matrix.slab_bytes, cudaMemcpyHostToDevice, m_stream),
                        "copying weights");
        }
    };
    {
        std::vector<std::jthread> threads;
        for (int i = 1; i < n_threads; ++i) threads.emplace_back(work);
        work();
    }
    return !m_errors.failed();
}

const float* WeightStore::upload_vector(const Weight& w, std::vector<void*>& pieces) {
    const auto n = static_cast<size_t>(w.n_in);
    std::vector<float> values(n * static_cast<size_t>(w.n_slabs));
    const TensorTypeInfo& info = tensor_type_info(w.type);
    for (int s = 0; s < w.n_slabs; ++s) info.dequantize(w.row(0, s), n / info.block_values, values.data() + n * static_cast<size_t>(s));
    std::byte* to = allocate(values.size() * sizeof(float), pieces);
    if (!to || !m_errors.ok(cudaMemcpyAsync(to, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice, m_stream), "copying weights"))
        return nullptr;
    return reinterpret_cast<const float*>(to);
}

size_t WeightStore::n_bytes_of(const Weight& w) {
    if (!w) return 0;
    return w.n_out > 1 ? device_shape(w).n_bytes() : static_cast<size_t>(w.n_in) * static_cast<size_t>(w.n_slabs) * sizeof(float);
}

void WeightStore::adopt(std::span<const Weight> matrices, std::span<const Weight> others, const std::shared_ptr<const void>& owner) {
    if (!is_current() || m_owner.lock() != owner) clear();
    m_owner = owner;
    const auto keep_matrix = [&](const Weight& w) {
        if (!w || m_matrix_at.contains(w.data)) return true;
        Kept kept{w, {}};
        if (!upload(w, kept.matrix, m_pieces)) return false;
        for (int s = 0; s < w.n_slabs; ++s) m_matrix_at[w.row(0, s)] = {m_matrices.size(), s};
        m_bytes += kept.matrix.n_bytes();
        m_matrices.push_back(kept);
        return true;
    };
    const auto keep_vector = [&](const Weight& w) {
        if (!w || m_vector_at.contains(w.data)) return true;
        const float* values = upload_vector(w, m_pieces);
        if (!values) return false;
        for (int s = 0; s < w.n_slabs; ++s) m_vector_at[w.row(0, s)] = values + static_cast<size_t>(s) * static_cast<size_t>(w.n_in);
        m_bytes += n_bytes_of(w);
        return true;
    };
    for (const Weight& w : matrices)
        if (!keep_matrix(w)) return clear();
    for (const Weight& w : others)
        if (!(w.n_out > 1 ? keep_matrix(w) : keep_vector(w))) return clear();
}

DeviceMatrix WeightStore::matrix(const Weight& w) {
    const auto found = is_current() ? m_matrix_at.find(w.data) : m_matrix_at.end();
    if (found != m_matrix_at.end()) {
        const Kept& kept = m_matrices[found->second.which];
        if (kept.shape.type == w.type && kept.shape.n_in == w.n_in && kept.shape.n_out == w.n_out && found->second.slab + w.n_slabs <= kept.shape.n_slabs) {
            DeviceMatrix m = kept.matrix;
            m.data += m.slab_bytes * static_cast<size_t>(found->second.slab);
            m.n_slabs = w.n_slabs;
            return m;
        }
    }
    DeviceMatrix passing;
    ++m_n_passing;
    if (!upload(w, passing, m_passing)) passing.data = nullptr;
    return passing;
}

const float* WeightStore::vector(const Weight* w) {
    if (!w || !*w) return nullptr;
    if (is_current())
        if (const auto found = m_vector_at.find(w->data); found != m_vector_at.end()) return found->second;
    ++m_n_passing;
    return upload_vector(*w, m_passing);
}

}  // namespace gs::cuda
