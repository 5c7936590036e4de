#include "engine/run/check_ops.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include <fmt/format.h>

#include "engine/model/tensor_type.h"
#include "engine/ops/rounding.h"

namespace gs {
namespace {

constexpr double kEpsilon = 0x1p-24;   // half a unit in the last place of f32

/// Rows in the memory of a back end, from values on the host.
class Sheet {
public:
    Sheet(Ops& ops, int n_rows, int n_cols, const std::vector<float>& values = {}) : m_ops(ops), m_rows{nullptr, n_rows, n_cols, n_cols} {
        m_rows.data = ops.allocate(size());
        if (!values.empty() && m_rows.data) ops.write(values.data(), m_rows.data, size());
    }
    ~Sheet() { m_ops.release(m_rows.data); }
    Sheet(const Sheet&) = delete;
    Sheet& operator=(const Sheet&) = delete;
    Rows rows() const { return m_rows; }
    int32_t* integers() const { return reinterpret_cast<int32_t*>(m_rows.data); }
    std::vector<float> read() const {
        std::vector<float> values(size(), NAN);
        if (m_rows.data) m_ops.read(m_rows.data, values.data(), size());
        return values;
    }

private:
    size_t size() const { return static_cast<size_t>(m_rows.n_rows) * static_cast<size_t>(m_rows.n_cols); }
    Ops& m_ops;
    Rows m_rows;
};

/// The same 32 bits each.
std::vector<float> as_floats(const std::vector<int32_t>& integers) {
    std::vector<float> floats(integers.size());
    std::memcpy(floats.data(), integers.data(), integers.size() * sizeof(float));
    return floats;
}

class Checker {
public:
    explicit Checker(Ops& ops) : m_ops(ops), m_fast(ops.precision() == Precision::kFast) {}
    std::vector<OpsCheck> run() {
        rows();
        for (const TensorTypeInfo& type : all_tensor_types())
            if (type.dequantize) products(type);
        transposed_products();
        networks();
        attentions();
        routing();
        return std::move(m_checks);
    }

private:
    std::vector<float> values(int n, float low = -1, float high = 1) {
        std::vector<float> v(static_cast<size_t>(n));
        for (float& x : v) x = std::uniform_real_distribution<float>(low, high)(m_random);
        return v;
    }

    /// Random blocks whose values are numbers of at most a thousand.
    Weight weight(TensorType type, int n_in, int n_out, int n_slabs = 1) {
        const TensorTypeInfo& info = tensor_type_info(type);
        const auto n_blocks = static_cast<size_t>(n_in) / info.block_values * static_cast<size_t>(n_out) * static_cast<size_t>(n_slabs);
        std::vector<std::byte>& bytes = m_weights.emplace_back(n_blocks * info.block_bytes);
        std::vector<float> decoded(info.block_values);
        for (size_t b = 0; b < n_blocks; ++b) {
            std::byte* block = bytes.data() + b * info.block_bytes;
            do {
                for (uint32_t i = 0; i < info.block_bytes; ++i) block[i] = static_cast<std::byte>(m_random() & 255u);
                info.dequantize(block, 1, decoded.data());
            } while (!std::all_of(decoded.begin(), decoded.end(), [](float v) { return std::isfinite(v) && std::fabs(v) <= 1000; }));
        }
        return {type, bytes.data(), n_in, n_out, n_slabs, static_cast<size_t>(n_in) / info.block_values * info.block_bytes};
    }

    /// `act` writes its result into the sheet it is given; both back ends run it and may differ by bound[i], or by bound[0] everywhere.
    template <class Act>
    void compare(const std::string& name, int n_rows, int n_cols, const std::vector<double>& bound, const Act& act, const std::vector<float>& start = {}) {
        Sheet ours(m_ops, n_rows, n_cols, start), oracle(*m_reference, n_rows, n_cols, start);
        act(m_ops, ours.rows());
        act(*m_reference, oracle.rows());
        const std::vector<float> a = ours.read(), b = oracle.read();
        OpsCheck check{name, true, 0};
        for (size_t i = 0; i < a.size(); ++i) {
            const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
            const double allowed = bound[bound.size() == 1 ? 0 : i] + kEpsilon * std::fabs(static_cast<double>(b[i]));
            if (!(difference <= allowed)) check.pass = false;
            if (difference > 0) check.worst = std::max(check.worst, difference / allowed);
        }
        m_checks.push_back(check);
    }

    void rows() {
        const std::vector<float> x = values(3 * 576, -3, 3), y = values(3 * 576);
        const auto other = [&](Ops& ops) { return std::make_unique<Sheet>(ops, 3, 576, y); };
        compare("add", 3, 576, {2 * kEpsilon * 4}, [&](Ops& ops, Rows out) { ops.add(out, other(ops)->rows(), 0.75f); }, x);
        compare("copy", 3, 576, {0}, [&](Ops& ops, Rows out) { ops.copy(other(ops)->rows(), out); }, x);
        compare("scale", 3, 576, {0}, [&](Ops& ops, Rows out) { ops.scale(out, 0.3f); }, x);
        // A factor below 2 to its last place, and the product.
        compare("grow", 3, 576, {4 * kEpsilon * 6}, [&](Ops& ops, Rows out) { ops.grow(out, {.step = 100}, 4998); }, x);
        compare("sigmoid", 3, 576, {8 * kEpsilon}, [&](Ops& ops, Rows out) { ops.sigmoid(out); }, x);
        compare("clamp", 3, 576, {0}, [&](Ops& ops, Rows out) { ops.clamp(out, 1.5f); }, x);
        for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
            for (const int group : {0, 64}) {
                const Weight w = weight(TensorType::kF32, group > 0 ? group : 576, 1);
                // Values of at most a thousand of the weight; the sum of squares in any order, a root, a quotient, two products.
                compare(fmt::format("norm {}{}", kind == NormKind::kRms ? "rms" : "layer", group > 0 ? " of heads" : ""), 3, 576, {32 * kEpsilon * 2000},
                        [&](Ops& ops, Rows out) { ops.norm({.x = out, .kind = kind, .weight = &w, .eps = 1e-5f, .group = group, .out = out}); }, x);
            }
        for (const RopePairs pairs : {RopePairs::kHalves, RopePairs::kNeighbours}) {
            RopeSpec spec;
            spec.n_rot = 64;
            spec.pairs = pairs;
            compare(fmt::format("rope {}", pairs == RopePairs::kHalves ? "halves" : "neighbours"), 3, 576, {8 * kEpsilon * 6},
                    [&](Ops& ops, Rows out) { ops.rope(spec, {}, out, 9, 64, 4001); }, x);
        }
        // Four times, so that a back end that keeps steps repeats it by itself; what each adds is as above.
        compare("step", 3, 576, {4 * 12 * kEpsilon * 6}, [&](Ops& ops, Rows out) {
            const std::vector<int32_t> ids{1, 2, 3};
            for (int position = 4000; position < 4004; ++position)
                ops.step({.maker = &out}, ids, position, [&] {
                    ops.rope({.n_rot = 64}, {}, out, 9, 64, position);
                    ops.grow(out, {.per_step = 0.01, .step = 2}, position);
                    return true;
                });
        }, x);
    }

    /// What any order of summation, and the rounding of inputs in the fast precision, may do to each product (tests/ops/backends.cpp has the terms).
    std::vector<double> product_bound(const Weight& w, const std::vector<float>& x, int n_tokens) const {
        const TensorTypeInfo& info = tensor_type_info(w.type);
        const bool rounds = m_fast && info.block_values > 1;
        const auto n = static_cast<size_t>(w.n_in);
        std::vector<float> row(n);
        std::vector<double> bound(static_cast<size_t>(n_tokens) * static_cast<size_t>(w.n_out));
        for (int o = 0; o < w.n_out; ++o) {
            info.dequantize(w.row(o), n / info.block_values, row.data());
            for (int t = 0; t < n_tokens; ++t) {
                double sum = 0;
                for (size_t b = 0; b < n; b += 32) {
                    double largest_w = 0, largest_x = 0, products = 0, weights = 0;
                    for (size_t i = b; i < std::min(b + 32, n); ++i) {
                        const auto in = std::fabs(static_cast<double>(x[static_cast<size_t>(t) * n + i])), value = std::fabs(static_cast<double>(row[i]));
                        largest_w = std::max(largest_w, value);
                        largest_x = std::max(largest_x, in);
                        products += in * value;
                        weights += value;
                    }
                    // A minimum may be summed apart from its scale: terms are then up to twice the largest value.
                    sum += (static_cast<double>(n) + 8) * kEpsilon * (products + 2 * 32 * largest_w * largest_x * (rounds ? 1 : 0.1));
                    if (rounds) sum += weights * largest_x * (0.5 / kLargestRounded + 4 * kEpsilon);
                }
                bound[static_cast<size_t>(t) * static_cast<size_t>(w.n_out) + static_cast<size_t>(o)] = sum;
            }
        }
        return bound;
    }

    void products(const TensorTypeInfo& type) {
        constexpr int kIn = 512, kOut = 80;
        const Weight w = weight(type.type, kIn, kOut);
        for (const int n_tokens : {1, 5, 40}) {
            const std::vector<float> x = values(n_tokens * kIn);
            compare(fmt::format("linear {}, {} tokens", type.name, n_tokens), n_tokens, kOut, product_bound(w, x, n_tokens), [&](Ops& ops, Rows out) {
                const Sheet in(ops, n_tokens, kIn, x);
                const LinearCall call{.weight = &w, .out = out};
                ops.linear(in.rows(), {&call, 1});
            });
        }
        const std::vector<int32_t> ids{79, 0, 3};
        compare(fmt::format("embed {}", type.name), 3, kIn, {0}, [&](Ops& ops, Rows out) { ops.embed(w, ids, 1, out); });
    }

    /// Weights are never rounded here: each of n_out products and sums by half a unit.
    void transposed_products() {
        constexpr int kIn = 128, kOut = 80, kTokens = 5;
        for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ8_0}) {
            const TensorTypeInfo& info = tensor_type_info(type);
            const Weight w = weight(type, kIn, kOut);
            const std::vector<float> x = values(kTokens * kOut);
            std::vector<float> row(kIn);
            std::vector<double> bound(static_cast<size_t>(kTokens * kIn), 0);
            for (int o = 0; o < kOut; ++o) {
                info.dequantize(w.row(o), kIn / info.block_values, row.data());
                for (size_t i = 0; i < bound.size(); ++i)
                    bound[i] += (kOut + 4) * kEpsilon * std::fabs(static_cast<double>(row[i % kIn]) * static_cast<double>(x[i / kIn * kOut + static_cast<size_t>(o)]));
            }
            compare(fmt::format("linear transposed {}", info.name), kTokens, kIn, bound, [&](Ops& ops, Rows out) {
                const Sheet in(ops, kTokens, kOut, x);
                ops.linear_transposed(in.rows(), w, out);
            });
        }
    }

    /// Small weights, so that what is between the matrices stays where its slope is about one.
    FfnWeights network(int n_slabs) {
        FfnWeights f{weight(TensorType::kF32, 128, 64, n_slabs), weight(TensorType::kF32, 128, 64, n_slabs), weight(TensorType::kF32, 64, 128, n_slabs)};
        for (std::vector<std::byte>* bytes : {&m_weights[m_weights.size() - 3], &m_weights[m_weights.size() - 2], &m_weights[m_weights.size() - 1]})
            for (size_t i = 0; i < bytes->size(); i += sizeof(float)) {
                const float value = std::uniform_real_distribution<float>(-0.2f, 0.2f)(m_random);
                std::memcpy(bytes->data() + i, &value, sizeof value);
            }
        return f;
    }

    void networks() {
        const FfnWeights experts = network(8), shared = network(1);
        // |x| <= 1, |w| <= 0.2: hidden values below 30, outputs below 400; three sums of up to 128 terms one behind the other.
        const std::vector<double> bound{3 * 136 * kEpsilon * 400};
        for (const int n_tokens : {1, 6, 40}) {
            const std::vector<float> x = values(n_tokens * 128), scales = values(n_tokens, 0, 1);
            std::vector<int32_t> ids, n_used;
            std::vector<float> weights;
            for (int t = 0; t < n_tokens; ++t) {
                for (int j = 0; j < 3; ++j) ids.push_back((t * 5 + j * 3) % 8);
                n_used.push_back(t % 4);
            }
            weights = values(3 * n_tokens, 0, 1);
            const auto on = [&](auto&& act) {
                return [&x, n_tokens, act](Ops& ops, Rows out) {
                    const Sheet in(ops, n_tokens, 128, x);
                    act(ops, in.rows(), out);
                };
            };
            compare(fmt::format("ffn, {} tokens", n_tokens), n_tokens, 128, bound, on([&](Ops& ops, Rows in, Rows out) { ops.ffn(shared, in, out); }));
            compare(fmt::format("moe, {} tokens", n_tokens), n_tokens, 128, {4 * bound[0]}, on([&](Ops& ops, Rows in, Rows out) {
                        const Sheet which(ops, n_tokens, 3, as_floats(ids)), counts(ops, n_tokens, 1, as_floats(n_used));
                        const Sheet by(ops, n_tokens, 3, weights), shared_by(ops, n_tokens, 1, scales);
                        ops.moe({.x = in, .experts = &experts, .ids = which.integers(), .weights = by.rows().data, .n_used = counts.integers(), .k_stride = 3,
                                 .shared = &shared, .shared_scale = shared_by.rows().data, .out = out});
                    }));
        }
        const std::vector<float> x = values(128);
        compare("all experts", 8, 128, bound, [&](Ops& ops, Rows out) {
            const Sheet in(ops, 1, 128, x);
            ops.all_experts(experts, in.rows(), out);
        });
    }

    /// Keys and values in the type of the back end, and the same values for the reference.
    void attention(const std::string& name, int n_heads, int n_kv, int dim, int first, int n_tokens, const LayerAttention& span, float cap, bool sinks) {
        const int n_ctx = first + n_tokens;
        std::vector<float> k = values(n_ctx * n_kv * dim), v = values(n_ctx * n_kv * dim);
        for (std::vector<float>* some : {&k, &v})
            for (float& value : *some) value = half_to_float(float_to_half(value));
        const std::vector<float> q = values(n_tokens * n_heads * dim);
        const Weight sink = weight(TensorType::kF16, n_heads, 1);
        const auto act = [&](Ops& ops, Rows out) {
            const size_t n_floats = k.size();   // of f32; f16 takes half
            Sheet cached_k(ops, 1, static_cast<int>(n_floats)), cached_v(ops, 1, static_cast<int>(n_floats));
            const Sheet rows_k(ops, n_ctx, n_kv * dim, k), rows_v(ops, n_ctx, n_kv * dim, v), queries(ops, n_tokens, n_heads * dim, q);
            const KvCache cache{reinterpret_cast<std::byte*>(cached_k.rows().data), reinterpret_cast<std::byte*>(cached_v.rows().data), ops.kv_type(), 1, n_ctx,
                                n_kv, dim, dim};
            ops.store_kv(cache, 0, 0, rows_k.rows(), rows_v.rows());
            AttentionCall call{.q = queries.rows(), .cache = &cache, .first_position = first, .n_heads = n_heads, .head_dim_v = dim,
                               .scale = 1 / std::sqrt(static_cast<float>(dim)), .cap = cap, .span = span, .out = out};
            if (sinks) call.sinks = &sink;
            ops.attention(call);
        };
        // Scores are off by at most (d + 4) eps Σ|q k| scale <= (d + 4) eps sqrt(d), and values are below 1; sums over keys in any order.
        const double score = (dim + 4) * kEpsilon * std::sqrt(dim) + 6 * kEpsilon * static_cast<double>(cap);
        compare(name, n_tokens, n_heads * dim, {2 * std::expm1(2 * score) + (2 * n_ctx + 80) * kEpsilon}, act);
    }

    void attentions() {
        for (const int n_tokens : {1, 4, 70})
            for (const int first : {0, 900}) {
                attention(fmt::format("attention, {} tokens at {}", n_tokens, first), 8, 2, 128, first, n_tokens, {}, 0, false);
                attention(fmt::format("attention with window, sinks and cap, {} tokens at {}", n_tokens, first), 6, 6, 64, first, n_tokens, {.window = 96}, 20, true);
                attention(fmt::format("attention of wide heads in chunks, {} tokens at {}", n_tokens, first), 4, 1, 576, first, n_tokens, {.chunk = 256}, 0, false);
            }
    }

    /// Ids, weights and counts side by side. Logits lie far enough apart that no rounding changes their order.
    void route(const std::string& name, const LayerRouter& layer) {
        constexpr int kTokens = 9;
        const int n_experts = layer.spec.n_experts, k = layer.policy.experts_per_token(layer.spec);
        std::vector<float> logits(static_cast<size_t>(kTokens * n_experts));
        for (size_t i = 0; i < logits.size(); ++i) logits[i] = 6.0f * static_cast<float>(i % static_cast<size_t>(n_experts)) / static_cast<float>(n_experts) - 3;
        for (int t = 0; t < kTokens; ++t) std::shuffle(logits.begin() + t * n_experts, logits.begin() + (t + 1) * n_experts, m_random);
        const auto act = [&](Ops& ops, Rows out) {
            const std::unique_ptr<Routers> routers = ops.make_routers();
            routers->set({&layer, 1});
            const Sheet in(ops, kTokens, n_experts, logits), ids(ops, kTokens, k), weights(ops, kTokens, k), n_used(ops, kTokens, 1), nonfinite(ops, 1, 1);
            ops.route({.routers = routers.get(), .logits = in.rows(), .ids = ids.integers(), .weights = weights.rows().data, .n_used = n_used.integers(),
                       .k_stride = k, .nonfinite = nonfinite.integers()});
            std::vector<float> joined = weights.read();
            for (const Sheet* integers : {&ids, &n_used})
                for (const float bits : integers->read()) joined.push_back(static_cast<float>(std::bit_cast<int32_t>(bits)));
            ops.write(joined.data(), out.data, joined.size());
        };
        // A sum over the experts, exponentials and a quotient of each weight, none above the scale; integers must be equal, which these are.
        compare(name, 1, kTokens * (2 * k + 1), {(16 + 4 * n_experts) * kEpsilon * static_cast<double>(layer.spec.scale)}, act);
    }

    void routing() {
        const std::pair<ScoreFn, const char*> scores[] = {{ScoreFn::kSoftmax, "softmax"}, {ScoreFn::kSigmoid, "sigmoid"}, {ScoreFn::kSoftmaxAfterTopK, "softmax after top-k"},
                                                          {ScoreFn::kSqrtSoftplus, "sqrt softplus"}, {ScoreFn::kSparseMixer, "sparse mixer"}};
        for (const auto& [score, name] : scores)
            for (const int n_experts : {8, 128}) {
                const RouterSpec spec{.n_experts = n_experts, .n_used = score == ScoreFn::kSparseMixer ? 2 : 4, .score = score};
                route(fmt::format("route {}, {} experts", name, n_experts), {spec, {}, {}});
            }
        std::vector<float> bias(64);
        for (size_t e = 0; e < bias.size(); ++e) bias[e] = static_cast<float>(e % 5) * 0.11f;
        const RouterSpec groups{.n_experts = 64, .n_used = 6, .score = ScoreFn::kSigmoid, .renormalise = true, .scale = 2.5f, .n_groups = 8, .n_groups_used = 3};
        route("route in groups with a selection bias", {groups, {}, bias});
        LayerPolicy policy{.rule = GateRule::kTopK, .k = 5, .temperature = 0.7f, .weight_rule = WeightRule::kSumToOne};
        policy.masked.assign(64, 0);
        policy.forced.assign(64, 0);
        policy.masked[7] = policy.forced[9] = 1;
        route("route by a policy", {{.n_experts = 64, .n_used = 8}, policy, {}});
        policy.zeroed.assign(64, 0);
        for (size_t e = 0; e < 64; e += 2) policy.zeroed[e] = 1;
        for (int e = 0; e < 63; e += 3) policy.swapped.push_back({e, e + 1});
        route("route with experts zeroed and swapped", {{.n_experts = 64, .n_used = 8}, policy, {}});
        LayerPolicy top_p{.rule = GateRule::kTopP}, noisy{.rule = GateRule::kThreshold, .k = 12};
        top_p.p = 0.63f;
        noisy.tau = 0.21f;
        noisy.noise = 0.5f;
        noisy.seed = 9;
        route("route by top-p", {{.n_experts = 64, .n_used = 8}, top_p, {}});
        route("route noisily over a threshold", {{.n_experts = 64, .n_used = 8}, noisy, {}});
        route("route softly", {{.n_experts = 64, .n_used = 8}, {.rule = GateRule::kSoft}, {}});
    }

    Ops& m_ops;
    bool m_fast;
    std::unique_ptr<Ops> m_reference = make_reference_ops();
    std::mt19937 m_random{20240607};
    std::vector<std::vector<std::byte>> m_weights;
    std::vector<OpsCheck> m_checks;
};

}  // namespace

std::vector<OpsCheck> check_ops(Ops& ops) { return Checker(ops).run(); }

}  // namespace gs
