// The oracle: every operation as its formula reads, one thread, f64 accumulation. Nothing here is meant to be quick.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <numbers>
#include <vector>

#include "engine/core/check.h"
#include "engine/ops/host_readback.h"
#include "engine/ops/host_routers.h"
#include "engine/ops/rope_table.h"

namespace gs {
namespace {

std::vector<float> dequantized_row(const Weight& w, int o, int slab = 0) {
    const TensorTypeInfo& info = tensor_type_info(w.type);
    GS_CHECK(info.dequantize, "weight of a type that cannot be loaded");
    std::vector<float> out(static_cast<size_t>(w.n_in));
    info.dequantize(w.row(o, slab), out.size() / info.block_values, out.data());
    return out;
}

double dot(const std::vector<float>& w, const double* x) {
    double sum = 0;
    for (size_t i = 0; i < w.size(); ++i) sum += static_cast<double>(w[i]) * x[i];
    return sum;
}

std::vector<double> widened(const float* x, int n) { return {x, x + n}; }

std::vector<double> matrix_times(const Weight& w, int slab, const std::vector<double>& x) {
    std::vector<double> y(static_cast<size_t>(w.n_out));
    for (int o = 0; o < w.n_out; ++o) y[static_cast<size_t>(o)] = dot(dequantized_row(w, o, slab), x.data());
    return y;
}

double activated(Activation activation, double g, double u) {
    switch (activation) {
        case Activation::kSilu: return g / (1 + std::exp(-g)) * u;
        case Activation::kGelu: return 0.5 * g * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g))) * u;
        case Activation::kClampedSilu: {
            const double low = std::min(g, 7.0);
            return low / (1 + std::exp(-1.702 * low)) * (std::clamp(u, -7.0, 7.0) + 1);
        }
    }
    return 0;
}

std::vector<double> matrix_times(const Weight& w, const Weight& bias, const std::vector<double>& x) {
    std::vector<double> y = matrix_times(w, 0, x);
    if (!bias) return y;
    const std::vector<float> b = dequantized_row(bias, 0);
    for (size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(b[i]);
    return y;
}

/// down(act(gate x, up x)) of one network of a stack.
std::vector<double> gated(const FfnWeights& stack, int slab, const std::vector<double>& x) {
    const FfnWeights f = stack.expert(slab);
    std::vector<double> g = matrix_times(f.gate, f.gate_bias, x);
    const std::vector<double> u = matrix_times(f.up, f.up_bias, x);
    for (size_t i = 0; i < g.size(); ++i) g[i] = activated(f.activation, g[i], u[i]);
    return matrix_times(f.down, f.down_bias, g);
}

void store(const std::vector<double>& y, float* out) {
    for (size_t i = 0; i < y.size(); ++i) out[i] = static_cast<float>(y[i]);
}

class ReferenceOps final : public Ops {
public:
    std::string name() const override { return "cpu reference"; }
    Precision precision() const override { return Precision::kExact; }

    float* allocate(size_t n) override {
        if (n > PTRDIFF_MAX / sizeof(float) - 64) return nullptr;
        const size_t n_bytes = (std::max<size_t>(n, 1) * sizeof(float) + 63) / 64 * 64;
        void* memory = ::operator new(n_bytes, std::align_val_t{64}, std::nothrow);
        if (memory) std::memset(memory, 0, n_bytes);
        return static_cast<float*>(memory);
    }
    void release(float* memory) override { ::operator delete(memory, std::align_val_t{64}); }
    void read(const float* from, float* to_host, size_t n) override { std::copy_n(from, n, to_host); }
    void write(const float* from_host, float* to, size_t n) override { std::copy_n(from_host, n, to); }
    std::unique_ptr<Readback> make_readback(size_t n) override { return make_host_readback(*this, n); }

    void embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) override {
        for (size_t t = 0; t < ids.size(); ++t) {
            const std::vector<float> row = dequantized_row(table, ids[t]);
            for (size_t i = 0; i < row.size(); ++i) out.row(static_cast<int>(t))[i] = scale * row[i];
        }
    }

    void norm(const NormCall& call) override {
        const int n = call.group > 0 ? call.group : call.x.n_cols;
        const std::vector<float> w = call.weight && *call.weight ? dequantized_row(*call.weight, 0) : std::vector<float>(static_cast<size_t>(n), 1.0f);
        const std::vector<float> b = call.bias && *call.bias ? dequantized_row(*call.bias, 0) : std::vector<float>(static_cast<size_t>(n), 0.0f);
        for (int t = 0; t < call.x.n_rows; ++t)
            for (int c = 0; c < call.x.n_cols; c += n) {
                const float* in = call.x.row(t) + c;
                double mean = 0, squares = 0;
                for (int i = 0; i < n && call.kind == NormKind::kLayer; ++i) mean += static_cast<double>(in[i]) / n;
                for (int i = 0; i < n; ++i) squares += (in[i] - mean) * (in[i] - mean);
                const double factor = 1 / std::sqrt(squares / n + call.eps);
                for (int i = 0; i < n; ++i)
                    call.out.row(t)[c + i] = static_cast<float>((in[i] - mean) * factor * w[static_cast<size_t>(i)] + b[static_cast<size_t>(i)]);
            }
    }

    void linear(Rows x, std::span<const LinearCall> calls) override {
        for (int t = 0; t < x.n_rows; ++t) {
            const std::vector<double> in = widened(x.row(t), x.n_cols);
            for (const LinearCall& call : calls) {
                std::vector<double> y = matrix_times(*call.weight, 0, in);
                if (call.bias && *call.bias) {
                    const std::vector<float> bias = dequantized_row(*call.bias, 0);
                    for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i];
                }
                store(y, call.out.row(t));
            }
        }
    }

    void linear_transposed(Rows x, const Weight& weight, Rows out) override {
        for (int t = 0; t < x.n_rows; ++t) {
            std::vector<double> sum(static_cast<size_t>(weight.n_in), 0.0);
            for (int o = 0; o < weight.n_out; ++o) {
                const std::vector<float> row = dequantized_row(weight, o);
                for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(x.row(t)[o]) * row[i];
            }
            store(sum, out.row(t));
        }
    }

    void rope(const RopeSpec& spec, const Weight& freq_divisors, Rows x, int n_heads, int head_dim, int first_position) override {
        const std::vector<double> frequencies = rope_frequencies(spec, freq_divisors);
        const int n_pairs = spec.n_rot / 2;
        const bool halves = spec.pairs == RopePairs::kHalves;
        for (int t = 0; t < x.n_rows; ++t)
            for (int h = 0; h < n_heads; ++h)
                for (int i = 0; i < n_pairs; ++i) {
                    const double angle = (first_position + t) * frequencies[static_cast<size_t>(i)];
                    float* head = x.row(t) + h * head_dim;
                    float &a = head[halves ? i : 2 * i], &b = head[halves ? i + n_pairs : 2 * i + 1];
                    const double c = spec.magnitude * std::cos(angle), s = spec.magnitude * std::sin(angle), a0 = a, b0 = b;
                    a = static_cast<float>(a0 * c - b0 * s);
                    b = static_cast<float>(a0 * s + b0 * c);
                }
    }

    void store_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) override {
        for (int t = 0; t < k.n_rows; ++t)
            for (int h = 0; h < cache.n_kv_heads; ++h) {
                std::copy_n(k.row(t) + h * cache.head_dim_k, cache.head_dim_k, floats(cache.k_at(layer, h, first_position + t)));
                if (cache.v) std::copy_n(v.row(t) + h * cache.head_dim_v, cache.head_dim_v, floats(cache.v_at(layer, h, first_position + t)));
            }
    }
    void read_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) override {
        for (int t = 0; t < k.n_rows; ++t)
            for (int h = 0; h < cache.n_kv_heads; ++h) {
                std::copy_n(floats(cache.k_at(layer, h, first_position + t)), cache.head_dim_k, k.row(t) + h * cache.head_dim_k);
                if (cache.v) std::copy_n(floats(cache.v_at(layer, h, first_position + t)), cache.head_dim_v, v.row(t) + h * cache.head_dim_v);
            }
    }

    void attention(const AttentionCall& call) override {
        for (int t = 0; t < call.q.n_rows; ++t)
            for (int h = 0; h < call.n_heads; ++h) attend_head(call, t, h);
    }

    void add(Rows x, Rows y, float scale) override {
        for (int t = 0; t < x.n_rows; ++t)
            for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] += scale * y.row(t)[i];
    }

    void copy(Rows from, Rows to) override {
        for (int t = 0; t < from.n_rows; ++t) std::copy_n(from.row(t), from.n_cols, to.row(t));
    }

    void scale(Rows x, float factor) override {
        for (int t = 0; t < x.n_rows; ++t)
            for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] *= factor;
    }

    void grow(Rows x, const QueryGrowth& growth, int first_position) override {
        for (int t = 0; t < x.n_rows; ++t) scale(x.from(t, 1), growth.factor(first_position + t));
    }

    void clamp(Rows x, float limit) override {
        for (int t = 0; t < x.n_rows; ++t)
            for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] = std::min(std::max(x.row(t)[i], -limit), limit);
    }

    void sigmoid(Rows x) override {
        for (int t = 0; t < x.n_rows; ++t)
            for (int i = 0; i < x.n_cols; ++i) x.row(t)[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(x.row(t)[i]))));
    }

    std::unique_ptr<Routers> make_routers() override { return std::make_unique<HostRouters>(); }
    void route(const RouteCall& call) override { static_cast<HostRouters*>(call.routers)->route(call); }

    void ffn(const FfnWeights& weights, Rows x, Rows out) override {
        for (int t = 0; t < x.n_rows; ++t) store(gated(weights, 0, widened(x.row(t), x.n_cols)), out.row(t));
    }

    void moe(const MoeCall& call) override {
        for (int t = 0; t < call.x.n_rows; ++t) {
            const std::vector<double> x = widened(call.x.row(t), call.x.n_cols);
            std::vector<double> sum(x.size(), 0.0);
            const auto add_scaled = [&](const std::vector<double>& y, double scale) {
                for (size_t i = 0; i < sum.size(); ++i) sum[i] += scale * y[i];
            };
            for (int j = 0; j < call.n_used[static_cast<size_t>(t)]; ++j) {
                const size_t slot = static_cast<size_t>(t) * static_cast<size_t>(call.k_stride) + static_cast<size_t>(j);
                const double weight = call.weights[slot];
                if (call.weigh_input) {
                    std::vector<double> weighed = x;
                    for (double& v : weighed) v *= weight;
                    add_scaled(gated(*call.experts, call.ids[slot], weighed), 1);
                } else {
                    add_scaled(gated(*call.experts, call.ids[slot], x), weight);
                }
            }
            if (call.routed.data) store(sum, call.routed.row(t));
            if (call.shared)
                add_scaled(gated(*call.shared, 0, x), call.shared_scale ? call.shared_scale[t] : 1.0f);
            store(sum, call.out.row(t));
        }
    }

    void all_experts(const FfnWeights& experts, Rows x, Rows out) override {
        const std::vector<double> in = widened(x.row(0), x.n_cols);
        for (int e = 0; e < experts.gate.n_slabs; ++e) store(gated(experts, e, in), out.row(e));
    }

private:
    static float* floats(std::byte* p) { return reinterpret_cast<float*>(p); }

    void attend_head(const AttentionCall& call, int t, int h) {
        const int position = call.first_position + t, first = call.first_key(position), kv_head = h / (call.n_heads / call.cache->n_kv_heads);
        const int dk = call.cache->head_dim_k;
        const float* q = call.q.row(t) + h * dk;
        std::vector<double> p;
        for (int s = first; s <= position; ++s) {
            const float* k = floats(call.cache->k_at(call.layer, kv_head, s));
            double score = 0;
            for (int i = 0; i < dk; ++i) score += static_cast<double>(q[i]) * k[i];
            score *= call.scale;
            p.push_back(call.cap > 0 ? call.cap * std::tanh(score / call.cap) : score);
        }
        double top = *std::max_element(p.begin(), p.end()), sum = 0;
        if (call.sinks) {
            const double sink = dequantized_row(*call.sinks, 0)[static_cast<size_t>(h)];
            top = std::max(top, sink);
            sum = std::exp(sink - top);
        }
        for (double& v : p) sum += v = std::exp(v - top);
        for (int i = 0; i < call.head_dim_v; ++i) {
            double mix = 0;
            for (size_t s = 0; s < p.size(); ++s)
                mix += p[s] * floats(call.cache->v_at(call.layer, kv_head, first + static_cast<int>(s)))[i];
            call.out.row(t)[h * call.head_dim_v + i] = static_cast<float>(mix / sum);
        }
    }
};

}  // namespace

std::unique_ptr<Ops> make_reference_ops() { return std::make_unique<ReferenceOps>(); }

}  // namespace gs
