#include "engine/ops/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "engine/core/check.h"
#include "engine/model/tensor_type.h"
#include "engine/ops/rope_table.h"

namespace gs::cpu {
namespace {

/// Cores that this process may use, which containers and taskset make fewer than the machine has.
int usable_cores() {
#if defined(__linux__)
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

CpuOps::CpuOps(const OpsOptions& options, int n_threads, Kernels kernels)
    : m_precision(options.precision), m_kv_type(options.chosen_kv_type()), m_note(options.note), m_kernels(std::move(kernels)), m_pool(n_threads),
      m_threads(static_cast<size_t>(m_pool.n_threads())) {}

std::string CpuOps::name() const {
    const int n = m_pool.n_threads();
    return "cpu " + m_kernels.title + ", " + std::to_string(n) + (n == 1 ? " thread" : " threads") +
           (m_precision == Precision::kExact ? ", exact" : "") + (m_note.empty() ? "" : " (" + m_note + ")");
}

float* CpuOps::allocate(size_t n_floats) {
    if (n_floats > std::numeric_limits<ptrdiff_t>::max() / sizeof(float) - 64) return nullptr;
    return reinterpret_cast<float*>(allocate_aligned(std::max<size_t>(n_floats, 1) * sizeof(float)));
}

void CpuOps::release(float* memory) { AlignedDelete{}(reinterpret_cast<std::byte*>(memory)); }
void CpuOps::read(const float* from, float* to_host, size_t n) { std::copy_n(from, n, to_host); }
void CpuOps::write(const float* from_host, float* to, size_t n) { std::copy_n(from_host, n, to); }

std::vector<std::span<const std::byte>> CpuOps::adopt(std::span<const Weight> matrices, std::span<const Weight> /*others*/,
                                                      const std::shared_ptr<const void>& owner, const AdoptProgress& /*progress*/) {
    if (m_precision == Precision::kExact || m_tiles_owner.lock() == owner) return {};
    m_tiles_owner = owner;
    return m_tiles.build(matrices, m_kernels, m_pool);
}

void CpuOps::embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) {
    OpClock::Span span(m_clock, Op::kEmbed);
    for (size_t t = 0; t < ids.size(); ++t) {
        float* row = out.row(static_cast<int>(t));
        m_kernels.dequantize(table, ids[t], 0, row);
        if (scale != 1.0f) m_kernels.set_scaled(row, row, table.n_in, scale);
    }
    span.add_bytes(table.row_bytes * ids.size());
}

void CpuOps::norm(const NormCall& call) {
    OpClock::Span span(m_clock, Op::kNorm);
    const Rows &x = call.x, &out = call.out;
    const int n = call.group > 0 ? call.group : x.n_cols;
    std::vector<float> weight_copy, bias_copy;
    const float* w = call.weight && *call.weight ? vector_values(*call.weight, weight_copy) : nullptr;
    if (!w) {
        weight_copy.assign(static_cast<size_t>(n), 1.0f);
        w = weight_copy.data();
    }
    const float* b = call.bias && *call.bias ? vector_values(*call.bias, bias_copy) : nullptr;
    each_row(x, [&](int t, int) {
        for (int c = 0; c < x.n_cols; c += n) {
            const float* in = x.row(t) + c;
            float* to = out.row(t) + c;
            if (call.kind == NormKind::kLayer) {
                double sum = 0;
                for (int i = 0; i < n; ++i) sum += static_cast<double>(in[i]);
                const double mean = sum / n;
                for (int i = 0; i < n; ++i) to[i] = static_cast<float>(static_cast<double>(in[i]) - mean);
                in = to;
            }
            m_kernels.rms_norm(in, w, n, call.eps, to);
            if (b) m_kernels.add_scaled(to, b, n, 1.0f);
        }
    });
    if (call.weight) span.add_bytes(call.weight->n_bytes());
}

void CpuOps::rope(const RopeSpec& spec, const Weight& freq_divisors, Rows x, int n_heads, int head_dim, int first_position) {
    OpClock::Span span(m_clock, Op::kRope);
    const auto n_pairs = static_cast<size_t>(spec.n_rot / 2);
    auto& a = m_angles;
    if (a.first_position != first_position || a.n_rows < x.n_rows || a.divisors != freq_divisors.data || a.spec != spec) {
        const std::vector<double> frequencies = rope_frequencies(spec, freq_divisors);
        const auto magnitude = static_cast<double>(spec.magnitude);
        a.cosines.resize(n_pairs * static_cast<size_t>(x.n_rows));
        a.sines.resize(a.cosines.size());
        for (size_t j = 0; j < a.cosines.size(); ++j) {
            const double angle = static_cast<double>(static_cast<size_t>(first_position) + j / n_pairs) * frequencies[j % n_pairs];
            a.cosines[j] = static_cast<float>(magnitude * std::cos(angle));
            a.sines[j] = static_cast<float>(magnitude * std::sin(angle));
        }
        a.first_position = first_position;
        a.n_rows = x.n_rows;
        a.spec = spec;
        a.divisors = freq_divisors.data;
    }
    for (int t = 0; t < x.n_rows; ++t)
        for (int h = 0; h < n_heads; ++h) {
            const size_t at = n_pairs * static_cast<size_t>(t);
            m_kernels.rotate(x.row(t) + h * head_dim, a.cosines.data() + at, a.sines.data() + at, spec.n_rot / 2, spec.pairs == RopePairs::kHalves);
        }
}

void CpuOps::store_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) {
    OpClock::Span span(m_clock, Op::kStoreKv);
    const auto put = [&](const float* from, int n, std::byte* to) {
        if (cache.type == KvType::kF16) m_kernels.to_half(from, n, to);
        else std::memcpy(to, from, sizeof(float) * static_cast<size_t>(n));
    };
    for (int t = 0; t < k.n_rows; ++t)
        for (int h = 0; h < cache.n_kv_heads; ++h) {
            put(k.row(t) + h * cache.head_dim_k, cache.head_dim_k, cache.k_at(layer, h, first_position + t));
            if (cache.v) put(v.row(t) + h * cache.head_dim_v, cache.head_dim_v, cache.v_at(layer, h, first_position + t));
        }
}

void CpuOps::read_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) {
    const auto get = [&](const std::byte* from, int n, float* to) {
        if (cache.type == KvType::kF32) return static_cast<void>(std::memcpy(to, from, sizeof(float) * static_cast<size_t>(n)));
        for (int i = 0; i < n; ++i) {
            uint16_t half;
            std::memcpy(&half, from + 2 * i, sizeof half);
            to[i] = half_to_float(half);
        }
    };
    for (int t = 0; t < k.n_rows; ++t)
        for (int h = 0; h < cache.n_kv_heads; ++h) {
            get(cache.k_at(layer, h, first_position + t), cache.head_dim_k, k.row(t) + h * cache.head_dim_k);
            if (cache.v) get(cache.v_at(layer, h, first_position + t), cache.head_dim_v, v.row(t) + h * cache.head_dim_v);
        }
}

void CpuOps::add(Rows x, Rows y, float scale) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) { m_kernels.add_scaled(x.row(t), y.row(t), x.n_cols, scale); });
}

void CpuOps::copy(Rows from, Rows to) {
    OpClock::Span span(m_clock, Op::kAdd);
    for (int t = 0; t < from.n_rows; ++t) std::copy_n(from.row(t), from.n_cols, to.row(t));
}

void CpuOps::scale(Rows x, float factor) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) { m_kernels.set_scaled(x.row(t), x.row(t), x.n_cols, factor); });
}

void CpuOps::grow(Rows x, const QueryGrowth& growth, int first_position) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) { m_kernels.set_scaled(x.row(t), x.row(t), x.n_cols, growth.factor(first_position + t)); });
}

void CpuOps::clamp(Rows x, float limit) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) {
        for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] = std::min(std::max(x.row(t)[i], -limit), limit);
    });
}

void CpuOps::sigmoid(Rows x) {
    OpClock::Span span(m_clock, Op::kAdd);
    for (int t = 0; t < x.n_rows; ++t)
        for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] = 1.0f / (1.0f + std::exp(-x.row(t)[i]));
}

void CpuOps::route(const RouteCall& call) {
    OpClock::Span span(m_clock, Op::kRoute);
    static_cast<HostRouters*>(call.routers)->route(call);
}

}  // namespace gs::cpu

namespace gs {

std::unique_ptr<Ops> make_cpu_ops(const OpsOptions& options) {
    const char* wanted = std::getenv("GATESCOPE_SIMD");
    const int n_threads = options.n_threads > 0 ? options.n_threads : cpu::usable_cores();
    std::optional<cpu::Kernels> kernels = cpu::choose_kernels(wanted ? wanted : "");
    if (!kernels) return make_reference_ops();
    return std::make_unique<cpu::CpuOps>(options, n_threads, std::move(*kernels));
}

std::vector<std::string> cpu_instruction_sets() { return cpu::available_kernels(); }

}  // namespace gs
