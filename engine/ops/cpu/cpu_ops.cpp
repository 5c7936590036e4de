#include "engine/ops/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "engine/core/check.h"
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

// Below this many values a fork costs more than it saves.
constexpr ptrdiff_t kForkValues = 1 << 15;

}  // namespace

CpuOps::CpuOps(int n_threads, Precision precision, Kernels kernels)
    : m_precision(precision), m_kernels(std::move(kernels)), m_pool(n_threads), m_threads(static_cast<size_t>(m_pool.n_threads())) {}

std::string CpuOps::name() const {
    const int n = m_pool.n_threads();
    return "cpu " + m_kernels.title + ", " + std::to_string(n) + (n == 1 ? " thread" : " threads") +
           (m_precision == Precision::kExact ? ", exact" : "");
}

float* CpuOps::allocate(size_t n_floats) {
    if (n_floats > std::numeric_limits<ptrdiff_t>::max() / sizeof(float) - 64) return nullptr;
    return reinterpret_cast<float*>(allocate_aligned(std::max<size_t>(n_floats, 1) * sizeof(float)));
}

void CpuOps::release(float* memory) { AlignedDelete{}(reinterpret_cast<std::byte*>(memory)); }
void CpuOps::read(const float* from, float* to_host, size_t n) { std::copy_n(from, n, to_host); }
void CpuOps::write(const float* from_host, float* to, size_t n) { std::copy_n(from_host, n, to); }

std::vector<std::span<const std::byte>> CpuOps::adopt(std::span<const Weight> weights, const std::shared_ptr<const void>& owner) {
    if (m_precision == Precision::kExact || m_tiles_owner.lock() == owner) return {};
    m_tiles_owner = owner;
    return m_tiles.build(weights, m_kernels, m_pool);
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
    for (int t = 0; t < k.n_rows; ++t) {
        std::copy_n(k.row(t), cache.k_width, cache.k_row(layer, first_position + t));
        if (cache.v_width > 0) std::copy_n(v.row(t), cache.v_width, cache.v_row(layer, first_position + t));
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

void CpuOps::scale(Rows x, std::span<const float> factors) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) { m_kernels.set_scaled(x.row(t), x.row(t), x.n_cols, factors[factors.size() == 1 ? 0 : static_cast<size_t>(t)]); });
}

void CpuOps::clamp(Rows x, float limit) {
    OpClock::Span span(m_clock, Op::kAdd);
    each_row(x, [&](int t, int) {
        for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] = std::min(std::max(x.row(t)[i], -limit), limit);
    });
}

void CpuOps::attention(const AttentionCall& call) {
    OpClock::Span span(m_clock, Op::kAttention);
    if (call.q.n_rows <= kGemvTokens) attend_heads(call);
    else attend_tiles(call);
}

void CpuOps::attend_heads(const AttentionCall& call) {
    const int group = call.n_heads / call.n_kv_heads;
    std::vector<float> sink_copy;
    const float* sinks = call.sinks ? vector_values(*call.sinks, sink_copy) : nullptr;
    const auto head = [&](int i, int thread) {
        const int t = i / call.n_heads, h = i % call.n_heads, kv_head = h / group;
        const int first = call.first_key(call.first_position + t), n_keys = call.first_position + t + 1 - first;
        HeadCall c;
        c.q = call.q.row(t) + h * call.head_dim_k;
        c.k = call.cache->k_row(call.layer, first) + kv_head * call.head_dim_k;
        c.v = call.cache->v_row(call.layer, first) + kv_head * call.head_dim_v;
        c.k_stride = call.cache->k_width;
        c.v_stride = call.cache->v_stride();
        c.n_keys = n_keys;
        c.dk = call.head_dim_k;
        c.dv = call.head_dim_v;
        c.scale = call.scale;
        c.cap = call.cap;
        if (sinks) c.sink = sinks[h];
        c.scores = m_threads[static_cast<size_t>(thread)].attention.floats(static_cast<size_t>(n_keys) + 16);
        c.out = call.out.row(t) + h * call.head_dim_v;
        m_kernels.attend_head(c);
    };
    const int n = call.q.n_rows * call.n_heads;
    const ptrdiff_t work = static_cast<ptrdiff_t>(n) * (call.first_position + call.q.n_rows) * (call.head_dim_k + call.head_dim_v);
    if (work >= kForkValues) m_pool.run(n, head);
    else
        for (int i = 0; i < n; ++i) head(i, 0);
}

void CpuOps::attend_tiles(const AttentionCall& call) {
    constexpr int kTileRows = 96;  // queries: some tokens times the heads that share a key-value head
    const int group = call.n_heads / call.n_kv_heads, n_tokens = call.q.n_rows;
    const int heads_at_once = std::min(group, kTileRows), tile_tokens = std::max(1, kTileRows / heads_at_once);
    const int n_tiles = (n_tokens + tile_tokens - 1) / tile_tokens, n_head_runs = (group + heads_at_once - 1) / heads_at_once;
    std::vector<float> sink_copy;
    const float* sinks = call.sinks ? vector_values(*call.sinks, sink_copy) : nullptr;
    m_pool.run(n_tiles * call.n_kv_heads * n_head_runs, [&](int i, int thread) {
        // Later tiles see more keys: they go first, so that no thread is left with a long one at the end.
        const int tile = n_tiles - 1 - i / (call.n_kv_heads * n_head_runs), kv_head = i / n_head_runs % call.n_kv_heads;
        const int head_begin = kv_head * group + i % n_head_runs * heads_at_once;
        const int head_end = std::min(head_begin + heads_at_once, (kv_head + 1) * group);
        const float* q[kTileRows];
        float* out[kTileRows];
        int n_hidden[kTileRows], n_visible[kTileRows], n_rows = 0;
        float row_sinks[kTileRows];
        for (int t = tile * tile_tokens; t < std::min(n_tokens, (tile + 1) * tile_tokens); ++t)
            for (int h = head_begin; h < head_end; ++h, ++n_rows) {
                q[n_rows] = call.q.row(t) + h * call.head_dim_k;
                out[n_rows] = call.out.row(t) + h * call.head_dim_v;
                n_hidden[n_rows] = call.first_key(call.first_position + t);
                n_visible[n_rows] = call.first_position + t + 1;
                row_sinks[n_rows] = sinks ? sinks[h] : 0;
            }
        QueryTile c{q, out, n_hidden, n_visible, n_rows};
        if (sinks) c.sinks = row_sinks;
        c.k = call.cache->k_row(call.layer, 0) + kv_head * call.head_dim_k;
        c.v = call.cache->v_row(call.layer, 0) + kv_head * call.head_dim_v;
        c.k_stride = call.cache->k_width;
        c.v_stride = call.cache->v_stride();
        c.dk = call.head_dim_k;
        c.dv = call.head_dim_v;
        c.scale = call.scale;
        c.cap = call.cap;
        c.scratch = m_threads[static_cast<size_t>(thread)].attention.floats(m_kernels.query_tile_floats(n_rows, c.dk, c.dv));
        m_kernels.attend_tile(c);
    });
}

}  // namespace gs::cpu

namespace gs {

std::unique_ptr<Ops> make_cpu_ops(const OpsOptions& options) {
    const char* wanted = std::getenv("GATESCOPE_SIMD");
    const int n_threads = options.n_threads > 0 ? options.n_threads : cpu::usable_cores();
    std::optional<cpu::Kernels> kernels = cpu::choose_kernels(wanted ? wanted : "");
    if (!kernels) return make_reference_ops();
    return std::make_unique<cpu::CpuOps>(n_threads, options.precision, std::move(*kernels));
}

std::vector<std::string> cpu_instruction_sets() { return cpu::available_kernels(); }

}  // namespace gs
