#include "engine/ops/cuda/weight_store.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_set>

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

bool WeightStore::Way::went(uint64_t n_bytes) {
    done += n_bytes;
    return !progress || progress(done, total);
}

/// Plane by plane to their places in the slab at `to`.
void WeightStore::copy_rows(const Weight& w, int slab, int first_row, int n_rows, const std::byte* packed, std::byte* to) {
    const DeviceMatrix shape = device_shape(w);
    const auto groups = [&](int rows) { return static_cast<size_t>(rows) * static_cast<size_t>(shape.n_groups); };
    const std::vector<Plane> from = planes_of(shape.format, groups(n_rows)), whole = planes_of(shape.format, groups(w.n_out));
    to += shape.slab_bytes * static_cast<size_t>(slab);
    if (n_rows == w.n_out) {
        m_errors.ok(cudaMemcpyAsync(to, packed, shape.slab_bytes, cudaMemcpyHostToDevice, m_stream), "copying weights");
        return;
    }
    for (size_t p = 0; p < from.size(); ++p)
        m_errors.ok(cudaMemcpyAsync(to + whole[p].offset + whole[p].bytes_of(groups(first_row)), packed + from[p].offset, from[p].bytes_of(groups(n_rows)),
                                    cudaMemcpyHostToDevice, m_stream),
                    "copying weights");
}

bool WeightStore::upload(const Weight& w, DeviceMatrix& matrix, std::vector<void*>& pieces, Way& way) {
    matrix = device_shape(w);
    std::byte* to = allocate(matrix.n_bytes(), pieces);
    if (!to) return false;
    matrix.data = to;
    // Rearranging takes longer than copying: several threads, where there is enough to do, each some rows of a slab at a time.
    constexpr size_t kPieceBytes = 4 << 20;
    const int rows = static_cast<int>(std::clamp<size_t>(static_cast<size_t>(w.n_out) * kPieceBytes / std::max<size_t>(matrix.slab_bytes, 1), 1, static_cast<size_t>(w.n_out)));
    const int a_slab = (w.n_out + rows - 1) / rows, n_pieces = a_slab * w.n_slabs;
    const int n_cores = matrix.n_bytes() < kPieceBytes ? 1 : static_cast<int>(std::thread::hardware_concurrency());
    const int n_threads = std::clamp(std::min(n_cores, n_pieces), 1, 8);
    std::atomic<int> next{0};
    std::atomic<uint64_t> done{0};
    std::atomic<bool> wanted{true};
    std::mutex copying;
    int device = 0;
    (void)cudaGetDevice(&device);
    const auto work = [&](bool reports) {
        std::vector<uint4> packed(packed_bytes(w, rows) / sizeof(uint4));
        auto* bytes = reinterpret_cast<std::byte*>(packed.data());
        uint64_t reported = 0;
        for (int i = next++; i < n_pieces && wanted; i = next++) {
            const int slab = i / a_slab, first = i % a_slab * rows, n = std::min(rows, w.n_out - first);
            pack_rows(w, slab, first, n, bytes);
            {
                const std::lock_guard lock(copying);
                (void)cudaSetDevice(device);   // a thread has its own
                copy_rows(w, slab, first, n, bytes, to);
            }
            done += matrix.slab_bytes * static_cast<size_t>(n) / static_cast<size_t>(w.n_out);
            if (!reports) continue;
            const uint64_t now = done;
            if (!way.went(now - reported)) wanted = false;
            reported = now;
        }
        return reported;
    };
    uint64_t reported = 0;
    {
        std::vector<std::jthread> threads;
        for (int i = 1; i < n_threads; ++i) threads.emplace_back(work, false);
        reported = work(true);
    }
    if (wanted && !way.went(matrix.n_bytes() - reported)) wanted = false;
    return wanted && !m_errors.failed();
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

uint64_t WeightStore::n_missing(std::span<const Weight> matrices, std::span<const Weight> others) const {
    std::unordered_set<const std::byte*> counted;
    uint64_t sum = 0;
    for (const std::span<const Weight> some : {matrices, others})
        for (const Weight& w : some)
            if (w && !m_matrix_at.contains(w.data) && !m_vector_at.contains(w.data) && counted.insert(w.data).second) sum += n_bytes_of(w);
    return sum;
}

bool WeightStore::adopt(std::span<const Weight> matrices, std::span<const Weight> others, const std::shared_ptr<const void>& owner,
                        const AdoptProgress& progress) {
    if (!is_current() || m_owner.lock() != owner) clear();
    m_owner = owner;
    Way way{progress, 0, n_missing(matrices, others)};
    const auto keep_matrix = [&](const Weight& w) {
        if (!w || m_matrix_at.contains(w.data)) return true;
        Kept kept{w, {}};
        if (!upload(w, kept.matrix, m_pieces, way)) return false;
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
        return way.went(n_bytes_of(w));
    };
    for (const Weight& w : matrices)
        if (!keep_matrix(w)) return clear(), false;
    for (const Weight& w : others)
        if (!(w.n_out > 1 ? keep_matrix(w) : keep_vector(w))) return clear(), false;
    return true;
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
    const AdoptProgress unheard;
    Way way{unheard};
    if (!upload(w, passing, m_passing, way)) passing.data = nullptr;
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
