#include "engine/ops/cuda/cuda_ops.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/core/check.h"
#include "engine/ops/cuda/attention.cuh"
#include "engine/ops/cuda/device_readback.h"
#include "engine/ops/cuda/elementwise.cuh"
#include "engine/ops/cuda/embed.cuh"
#include "engine/ops/cuda/kv_cache.cuh"
#include "engine/ops/cuda/rope.cuh"
#include "engine/ops/rope_table.h"

namespace gs::cuda {
namespace {

constexpr size_t kReadBytes = 1 << 20;     // more is copied straight to where it is wanted

}  // namespace

CudaOps::Operation::Operation(CudaOps& ops, Op op) : m_ops(ops), m_op(op) {
    ops.use_device();
    ops.m_clock.begin(op);
}

CudaOps::Operation::~Operation() {
    m_ops.m_clock.end(m_op, m_weight_bytes, m_products);
    m_ops.m_errors.check_launch(EventClock::name_of(m_op));
    m_ops.m_weights.end_operation();
}

CudaOps::CudaOps(DeviceInfo device, cudaStream_t stream, Precision precision, KvType kv_type)
    : m_device(std::move(device)), m_stream(stream), m_precision(precision), m_kv_type(kv_type), m_clock(stream), m_ring(m_errors, stream),
      m_weights(m_errors, stream), m_workspace(m_errors), m_step_block(m_errors) {
    void* memory = nullptr;
    if (m_errors.ok(cudaMallocHost(&memory, kReadBytes), "page-locked memory")) m_read_buffer = static_cast<std::byte*>(memory);
    m_ring.prepare();
}

CudaOps::~CudaOps() {
    use_device();
    m_graphs.clear();
    (void)cudaStreamSynchronize(m_stream);
    (void)cudaFreeHost(m_read_buffer);
    (void)cudaStreamDestroy(m_stream);
}

std::string CudaOps::name() const {
    const std::string& remark = m_graphs.remark();
    return "cuda " + m_device.name + (m_precision == Precision::kExact ? ", exact" : "") +
           (remark.empty() ? "" : " (kernel by kernel: " + remark + ")");
}

Result<void> CudaOps::check() const {
    if (!m_errors.failed()) return {};
    if (m_errors.out_of_memory())
        return Error{ErrorKind::kDevice, "device_memory", "There is not enough memory on the device", m_device.name + ", " + m_errors.text(),
                     "Ask for a shorter context, or run on the processor: --engine cpu"};
    return Error{ErrorKind::kDevice, "device_failed", "The device does not answer any more", m_device.name + ", " + m_errors.text(),
                 "Start the engine again, or run on the processor: --engine cpu"};
}

std::optional<uint64_t> CudaOps::free_memory() const {
    use_device();
    size_t free = 0, total = 0;
    if (cudaMemGetInfo(&free, &total) == cudaSuccess) return free;
    (void)cudaGetLastError();
    return 0;
}

float* CudaOps::allocate(size_t n) {
    use_device();
    ++m_n_host_works;
    if (n > std::numeric_limits<ptrdiff_t>::max() / sizeof(float)) return nullptr;
    const size_t n_bytes = std::max<size_t>(n, 1) * sizeof(float);
    void* memory = nullptr;
    // No memory is the caller's to say; it is not a failure of the device, as other errors are.
    if (const cudaError_t error = cudaMalloc(&memory, n_bytes); error != cudaSuccess) {
        if (error != cudaErrorMemoryAllocation) m_errors.ok(error, "memory");
        (void)cudaGetLastError();
        return nullptr;
    }
    m_errors.ok(cudaMemsetAsync(memory, 0, n_bytes, m_stream), "clearing memory");
    return static_cast<float*>(memory);
}

void CudaOps::release(float* memory) {
    use_device();
    m_graphs.clear();
    (void)cudaFree(memory);
}

void CudaOps::read(const float* from, float* to_host, size_t n) {
    use_device();
    ++m_n_host_works;
    const size_t n_bytes = n * sizeof(float);
    const bool staged = n_bytes <= kReadBytes && m_read_buffer;
    void* to = staged ? static_cast<void*>(m_read_buffer) : to_host;
    const bool asked = m_errors.ok(cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyDeviceToHost, m_stream), "reading");
    ++m_n_waits;
    if (!m_errors.ok(cudaStreamSynchronize(m_stream), "reading") || !asked) return std::fill_n(to_host, n, 0.0f), void();
    if (staged) std::memcpy(to_host, m_read_buffer, n_bytes);
}

void CudaOps::write(const float* from_host, float* to, size_t n) {
    use_device();
    ++m_n_host_works;
    m_errors.ok(cudaMemcpyAsync(to, from_host, n * sizeof(float), cudaMemcpyHostToDevice, m_stream), "writing");
}

std::unique_ptr<Readback> CudaOps::make_readback(size_t n) {
    auto readback = std::make_unique<DeviceReadback>(m_errors, m_stream, m_device.index, m_n_waits);
    if (n > std::numeric_limits<ptrdiff_t>::max() / sizeof(float) || !readback->allocate(n)) return nullptr;
    return readback;
}

std::vector<std::span<const std::byte>> CudaOps::adopt(std::span<const Weight> matrices, std::span<const Weight> others,
                                                       const std::shared_ptr<const void>& owner, const AdoptProgress& progress) {
    use_device();
    m_graphs.clear();
    m_angles.clear();   // another model's divisors may lie where the last one's did
    std::vector<std::span<const std::byte>> originals;
    if (!m_weights.adopt(matrices, others, owner, progress) || m_errors.failed()) return originals;
    for (const Weight& w : matrices)
        if (w && w.slab_gap == 0) originals.emplace_back(w.data, w.n_bytes());
    return originals;
}

std::byte* CudaOps::workspace(size_t n_bytes) {
    if (n_bytes == 0) return nullptr;
    if (n_bytes > m_workspace.n_bytes()) m_graphs.clear();
    // What moves cannot be captured, and the old piece could not be freed.
    return m_capturing && n_bytes > m_workspace.n_bytes() ? nullptr : m_workspace.at_least(n_bytes);
}

void CudaOps::embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) {
    Operation operation(*this, Op::kEmbed);
    const DeviceMatrix matrix = m_weights.matrix(table);
    const bool of_step = m_step.block && ids.data() == m_step.ids.data() && ids.size() == m_step.ids.size();
    const int32_t* sent = of_step ? m_step.block->ids : m_ring.send(ids);
    if (!matrix.data || !sent) return;
    embed_rows(m_stream, matrix, sent, scale, out.first(static_cast<int>(ids.size())));
    operation.add_bytes(table.row_bytes * ids.size());
}

void CudaOps::forget_angles() {
    for (Angles& a : m_angles) a.n_rows = 0;
}

/// With frequencies; null where there is no memory for them.
CudaOps::Angles* CudaOps::angles_of(const RopeSpec& spec, const Weight& divisors) {
    constexpr size_t kMost = 4;        // local and global layers, short and long contexts
    ++m_n_ropes;
    for (Angles& a : m_angles)
        if (a.divisors == divisors.data && a.spec == spec) {
            a.used = m_n_ropes;
            return &a;
        }
    if (m_angles.size() >= kMost) {
        m_graphs.clear();
        m_angles.erase(std::min_element(m_angles.begin(), m_angles.end(), [](const Angles& l, const Angles& r) { return l.used < r.used; }));
    }
    const std::vector<double> frequencies = rope_frequencies(spec, divisors);
    const size_t n_bytes = frequencies.size() * sizeof(double);
    Angles a{.spec = spec, .divisors = divisors.data, .frequencies = std::make_unique<DeviceBuffer>(m_errors),
             .table = std::make_unique<DeviceBuffer>(m_errors), .used = m_n_ropes};
    std::byte* to = a.frequencies->at_least(n_bytes);
    if (!to) return nullptr;
    m_ring.send_to(to, frequencies.data(), n_bytes);
    m_angles.push_back(std::move(a));
    return &m_angles.back();
}

const float2* CudaOps::angle_table(const RopeSpec& spec, const Weight& divisors, int first_position, int n_rows) {
    Angles* a = angles_of(spec, divisors);
    if (!a) return nullptr;
    const size_t n_bytes = sizeof(float2) * static_cast<size_t>(spec.n_rot / 2) * static_cast<size_t>(n_rows);
    if (a->table->n_bytes() > 0 && n_bytes > a->table->n_bytes()) m_graphs.clear();   // a new one is in no graph
    auto* table = reinterpret_cast<float2*>(a->table->at_least(n_bytes));
    if (table && (a->first_position != first_position || a->n_rows < n_rows)) {
        const auto* frequencies = reinterpret_cast<const double*>(a->frequencies->at_least(0));
        make_angles(m_stream, frequencies, spec.n_rot / 2, spec.magnitude, at(first_position), n_rows, table);
        a->first_position = first_position;
        a->n_rows = n_rows;
    }
    return table;
}

void CudaOps::rope(const RopeSpec& spec, const Weight& freq_divisors, Rows x, int n_heads, int head_dim, int first_position) {
    Operation operation(*this, Op::kRope);
    if (x.n_rows <= 0 || spec.n_rot < 2) return;
    const float2* table = angle_table(spec, freq_divisors, first_position, x.n_rows);
    if (table) rotate(m_stream, x, n_heads, head_dim, table, spec.n_rot / 2, spec.pairs);
}

namespace {

KvHeads keys_of(const KvCache& cache, int layer) {
    const size_t gap = static_cast<size_t>(cache.n_ctx) * static_cast<size_t>(cache.head_dim_k);
    return {cache.k_at(layer, 0, 0), cache.type, gap, cache.n_kv_heads, cache.head_dim_k};
}
KvHeads values_of(const KvCache& cache, int layer) {
    const size_t gap = static_cast<size_t>(cache.n_ctx) * static_cast<size_t>(cache.head_dim_v);
    return {cache.v_at(layer, 0, 0), cache.type, gap, cache.n_kv_heads, cache.head_dim_v};
}

}  // namespace

void CudaOps::store_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) {
    Operation operation(*this, Op::kStoreKv);
    store_kv_rows(m_stream, k, keys_of(cache, layer), v, cache.v ? values_of(cache, layer) : KvHeads{}, at(first_position));
}

void CudaOps::read_kv_part(const KvHeads& heads, int first_position, Rows to_host) {
    const int n_cols = heads.n_heads * heads.dim;
    auto* gathered = reinterpret_cast<float*>(workspace(static_cast<size_t>(to_host.n_rows) * static_cast<size_t>(n_cols) * sizeof(float)));
    if (!gathered) return;
    const Rows rows{gathered, to_host.n_rows, n_cols, n_cols};
    load_kv_rows(m_stream, heads, at(first_position), rows);
    for (int t = 0; t < rows.n_rows; ++t) read(rows.row(t), to_host.row(t), static_cast<size_t>(n_cols));
}

void CudaOps::read_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) {
    Operation operation(*this, Op::kStoreKv);
    read_kv_part(keys_of(cache, layer), first_position, k);
    if (cache.v) read_kv_part(values_of(cache, layer), first_position, v);
}

void CudaOps::attention(const AttentionCall& call) {
    Operation operation(*this, Op::kAttention);
    const float* sinks = m_weights.vector(call.sinks);
    const size_t n_bytes = attention_workspace(call, m_precision, m_device.n_processors);
    std::byte* scratch = workspace(n_bytes);
    if (n_bytes == 0 || scratch) cuda::attention(m_stream, call, at(call.first_position), sinks, m_precision, m_device.n_processors, scratch);
}

void CudaOps::add(Rows x, Rows y, float scale) {
    Operation operation(*this, Op::kAdd);
    add_rows(m_stream, x, y, scale);
}

void CudaOps::copy(Rows from, Rows to) {
    Operation operation(*this, Op::kAdd);
    copy_rows(m_stream, from, to);
}

void CudaOps::scale(Rows x, float factor) {
    Operation operation(*this, Op::kAdd);
    scale_rows(m_stream, x, factor);
}

void CudaOps::grow(Rows x, const QueryGrowth& growth, int first_position) {
    Operation operation(*this, Op::kAdd);
    grow_rows(m_stream, x, growth, at(first_position));
}

void CudaOps::clamp(Rows x, float limit) {
    Operation operation(*this, Op::kAdd);
    clamp_rows(m_stream, x, limit);
}

void CudaOps::sigmoid(Rows x) {
    Operation operation(*this, Op::kAdd);
    sigmoid_rows(m_stream, x);
}

}  // namespace gs::cuda
