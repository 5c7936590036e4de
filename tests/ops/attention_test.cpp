// Attention, rotation, norm, cache and embedding: every back end against f64 formulas written out here.
#include <algorithm>
#include <cmath>

#include "engine/model/tensor_type.h"
#include "tests/ops/backends.h"

namespace gs::test {
namespace {

struct Heads {
    int n_heads, n_kv_heads, dk, dv;
};

/// What goes beyond plain causal attention.
struct Extras {
    LayerAttention span;
    float cap = 0;
    bool sinks = false;
    int begin = 0;
    bool v_in_k = false;   ///< latent attention
};

/// A cache in memory of the back end.
struct Cache {
    Cache(Ops& back_end, int n_layers, int n_ctx, int n_kv_heads, int dk, int dv) : ops(back_end) {
        const size_t positions = static_cast<size_t>(n_layers) * static_cast<size_t>(n_ctx) * static_cast<size_t>(n_kv_heads);
        cache = {memory(positions * static_cast<size_t>(dk)), dv > 0 ? memory(positions * static_cast<size_t>(dv)) : nullptr, ops.kv_type(), n_layers, n_ctx,
                 n_kv_heads, dk, dv};
    }
    ~Cache() {
        ops.release(reinterpret_cast<float*>(cache.k));
        if (cache.v) ops.release(reinterpret_cast<float*>(cache.v));
    }
    Cache(const Cache&) = delete;
    Cache& operator=(const Cache&) = delete;
    int k_width() const { return cache.n_kv_heads * cache.head_dim_k; }
    int v_width() const { return cache.v ? cache.n_kv_heads * cache.head_dim_v : 0; }
    std::byte* memory(size_t n_values) { return reinterpret_cast<std::byte*>(ops.allocate(n_values)); }

    Ops& ops;
    KvCache cache;
};

class AttentionTest : public OpsTest {
protected:
    void check(const Heads& h, int first, int n_tokens, float size, const Extras& extras = {}) {
        const int n_ctx = first + n_tokens + 2;
        Cache kept(*m_ops, 2, n_ctx, h.n_kv_heads, h.dk, extras.v_in_k ? 0 : h.dv);
        // What no query may see: positions after the last token, and before the beginning.
        for (int s = 0; s < n_ctx; ++s) {
            const bool may_be_seen = s >= extras.begin && s < first + n_tokens;
            Matrix k(1, kept.k_width()), v(1, kept.v_width());
            k.data = may_be_seen ? values(k.data.size(), -size, size) : std::vector<float>(k.data.size(), NAN);
            v.data = may_be_seen ? values(v.data.size()) : std::vector<float>(v.data.size(), NAN);
            m_ops->store_kv(kept.cache, 1, s, k.rows(), v.rows());
        }
        m_k = Matrix(n_ctx, kept.k_width());
        m_v = Matrix(n_ctx, kept.v_width());
        m_ops->read_kv(kept.cache, 1, 0, m_k.rows(), m_v.rows());
        const OwnedWeight sinks(TensorType::kF32, h.n_heads, 1, m_random);
        Matrix q(n_tokens, h.n_heads * h.dk, 5), out(n_tokens, h.n_heads * h.dv, 3);
        q.data = values(q.data.size(), -size, size);
        const float scale = 1 / std::sqrt(static_cast<float>(h.dk));
        AttentionCall call{q.rows(), &kept.cache, 1, first, h.n_heads, h.dv, scale, extras.cap, extras.begin, extras.span};
        if (extras.sinks) call.sinks = &sinks.weight;
        call.out = out.rows();
        m_ops->attention(call);
        for (int t = 0; t < n_tokens; ++t)
            for (int head = 0; head < h.n_heads; ++head) {
                expect_within(out.rows().row(t) + head * h.dv, expected(call, t, head),
                              "head " + std::to_string(head) + " token " + std::to_string(t) + " of " + std::to_string(n_tokens) + " from " +
                                  std::to_string(first));
                if (HasFatalFailure()) return;
            }
    }

    const float* value(const AttentionCall& c, int position, int kv_head) {
        return c.cache->v ? m_v.rows().row(position) + kv_head * c.cache->head_dim_v : m_k.rows().row(position) + kv_head * c.cache->head_dim_k;
    }

    static bool sees(const AttentionCall& c, int query, int key) {
        const bool in_window = c.span.window == 0 || query - key < c.span.window;
        const bool in_chunk = c.span.chunk == 0 || key / c.span.chunk == query / c.span.chunk;
        return key <= query && key >= c.begin && in_window && in_chunk;
    }

    Bounded expected(const AttentionCall& c, int t, int head) {
        const int query = c.first_position + t, n_keys = query + 1, kv = head / (c.n_heads / c.cache->n_kv_heads), dk = c.cache->head_dim_k;
        std::vector<double> score(static_cast<size_t>(n_keys), -INFINITY);
        double top = -INFINITY, worst = 0, total = 0;
        for (int s = 0; s < n_keys; ++s) {
            if (!sees(c, query, s)) continue;
            double dot = 0, magnitude = 0;
            for (int i = 0; i < dk; ++i) {
                const double term = static_cast<double>(c.q.row(t)[head * dk + i]) * m_k.rows().row(s)[kv * dk + i];
                dot += term;
                magnitude += std::fabs(term);
            }
            const double scaled = dot * c.scale;
            score[static_cast<size_t>(s)] = c.cap > 0 ? c.cap * std::tanh(scaled / c.cap) : scaled;
            // The slope of the cap is at most 1; tanh good to 4 units, quotient and product to one.
            worst = std::max(worst, (dk + 4) * kEpsilon * magnitude * c.scale + 6 * kEpsilon * c.cap);
            top = std::max(top, score[static_cast<size_t>(s)]);
        }
        if (c.sinks) {
            const double sink = static_cast<double>(reinterpret_cast<const float*>(c.sinks->data)[head]);
            top = std::max(top, sink);
            total = std::exp(sink - top);
        }
        for (double& v : score) total += v = std::exp(v - top);
        Bounded out;
        for (int i = 0; i < c.head_dim_v; ++i) {
            double mix = 0, magnitude = 0;
            for (int s = 0; s < n_keys; ++s) {
                if (score[static_cast<size_t>(s)] == 0) continue;
                const double term = score[static_cast<size_t>(s)] / total * value(c, s, kv)[i];
                mix += term;
                magnitude += std::fabs(term);
            }
            out.value.push_back(mix);
            // A score off by e moves its share, and the sum of shares, by a factor exp(±e); sums over keys in f32; exp good to 4 units and
            // its argument, |score - top| < 100, to half a unit of 64.
            out.bound.push_back(magnitude * (2 * std::expm1(2 * worst) + (2 * n_keys + 16 + 4 * 64) * kEpsilon));
        }
        return out;
    }

    Matrix m_k{0, 0}, m_v{0, 0};   ///< what the cache holds, in f32
};

INSTANTIATE_TEST_SUITE_P(Backends, AttentionTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

TEST_P(AttentionTest, EveryHeadLayoutSeesItsOwnPastOnly) {
    for (const Heads& h : {Heads{9, 3, 64, 64}, Heads{4, 4, 16, 16}, Heads{6, 2, 24, 40}, Heads{2, 1, 7, 5}, Heads{12, 1, 32, 128}, Heads{7, 1, 130, 260}})
        for (const int n_tokens : {1, 2, 7, 33})
            for (const int first : {0, 5, 70}) {
                check(h, first, n_tokens, 1);
                if (HasFatalFailure()) return;
            }
}

TEST_P(AttentionTest, LongPastAndManyQueriesCrossEveryBlockBorder) {
    check({3, 1, 16, 16}, 0, 140, 1);
    check({3, 3, 32, 32}, 500, 1, 1);
    check({3, 3, 32, 32}, 300, 70, 1);
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
    check({2, 2, 16, 16}, 0, 90, 6);
    check({2, 2, 16, 16}, 60, 1, 6);
}

TEST_P(AttentionTest, WindowsAndChunksHideThePast) {
    for (const LayerAttention& span : {LayerAttention{.window = 1}, LayerAttention{.window = 5}, LayerAttention{.window = 70}, LayerAttention{.chunk = 16},
                                       LayerAttention{.window = 9, .chunk = 40}})
        for (const int n_tokens : {1, 3, 40, 150})
            for (const int first : {0, 66, 200}) {
                check({4, 2, 16, 16}, first, n_tokens, 1, {.span = span});
                if (HasFatalFailure()) return;
            }
}

TEST_P(AttentionTest, NothingBeforeTheBeginningIsSeen) {
    for (const int n_tokens : {1, 40}) {
        check({4, 2, 16, 16}, 100, n_tokens, 1, {.begin = 100});
        check({4, 2, 16, 16}, 100, n_tokens, 1, {.span = {.chunk = 64}, .begin = 70});
    }
}

TEST_P(AttentionTest, SinksTakeTheirShare) {
    for (const int n_tokens : {1, 2, 33, 100}) {
        check({6, 2, 16, 24}, 0, n_tokens, 1, {.sinks = true});
        check({6, 2, 16, 24}, 90, n_tokens, 3, {.span = {.window = 32}, .sinks = true});
    }
}

TEST_P(AttentionTest, ScoresAreCapped) {
    for (const int n_tokens : {1, 2, 33}) {
        check({4, 2, 16, 16}, 20, n_tokens, 4, {.cap = 3});
        check({4, 2, 16, 16}, 80, n_tokens, 1, {.cap = 30});
    }
}

TEST_P(AttentionTest, ValuesMayBeTheBeginningOfTheKeys) {
    for (const int n_tokens : {1, 40}) check({10, 1, 40, 32}, 30, n_tokens, 1, {.v_in_k = true});
}

// As wide as models have them; on a device these go through tensor cores in the fast precision.
TEST_P(AttentionTest, PromptsOfWideHeads) {
    for (const Heads& h : {Heads{3, 1, 16, 8}, Heads{2, 1, 64, 40}, Heads{4, 2, 128, 128}, Heads{2, 1, 192, 128}, Heads{2, 1, 256, 256}})
        for (const int first : {0, 75}) {
            check(h, first, 37, 1);
            check(h, first, 20, 2, {.span = {.window = 33}, .cap = 5, .sinks = true});
            if (HasFatalFailure()) return;
        }
}

TEST_P(AttentionTest, PromptsOfLatentHeads) {
    check({18, 1, 576, 512}, 0, 9, 0.2f, {.v_in_k = true});
    check({3, 1, 576, 512}, 50, 12, 0.2f, {.span = {.chunk = 32}, .v_in_k = true});
    check({4, 1, 48, 32}, 130, 40, 1, {.begin = 120, .v_in_k = true});
}

TEST_P(AttentionTest, PromptsOfMuchMoreThanABlockHas) {
    check({8, 2, 32, 32}, 0, 150, 1);
    check({1, 1, 32, 32}, 260, 70, 1, {.span = {.chunk = 100}});
    check({2, 2, 32, 24}, 700, 12, 1);   // keys divided among blocks
}

TEST_P(AttentionTest, QueriesOfAnyMagnitudeKeepTheirPrecision) {
    for (const float size : {1e-6f, 1e-3f, 4.0f}) check({4, 2, 32, 32}, 10, 20, size);
}

TEST_P(AttentionTest, RotationTurnsPairsByTheirAngles) {
    const OwnedWeight divisors(TensorType::kF32, 8, 1, m_random);
    for (const RopePairs pairs : {RopePairs::kNeighbours, RopePairs::kHalves})
        for (const int n_rot : {16, 12, 6})
            for (const bool divided : {false, true}) {
                RopeSpec spec;
                spec.n_rot = n_rot;
                spec.pairs = pairs;
                spec.base = 5000;
                spec.factor = 2;
                Weight w = divisors.weight;
                w.n_in = n_rot / 2;
                const int n_heads = 3, dim = 16, first = 1000;
                Matrix x(5, n_heads * dim, 4);
                x.data = values(x.data.size());
                const std::vector<float> before = x.data;
                m_ops->rope(spec, divided ? w : Weight{}, x.rows(), n_heads, dim, first);
                for (int t = 0; t < 5; ++t)
                    for (int i = 0; i < n_heads * dim; ++i) {
                        const int c = i % dim, head = i - c;
                        const float* row = before.data() + t * x.stride;
                        double expected = row[i];
                        if (c < n_rot) {
                            const bool halves = pairs == RopePairs::kHalves;
                            const int p = halves ? c % (n_rot / 2) : c / 2;
                            const bool second = halves ? c >= n_rot / 2 : c % 2 == 1;
                            double angle = (first + t) * std::pow(5000.0, -2.0 * p / n_rot) / 2;
                            if (divided) angle /= divisors.row(0)[static_cast<size_t>(p)];
                            const double a = row[head + (halves ? p : 2 * p)], b = row[head + (halves ? p + n_rot / 2 : 2 * p + 1)];
                            expected = second ? a * std::sin(angle) + b * std::cos(angle) : a * std::cos(angle) - b * std::sin(angle);
                        }
                        ASSERT_NEAR(x.rows().row(t)[i], expected, 6 * kEpsilon * 2) << "row " << t << " column " << i;
                    }
            }
}

TEST_P(AttentionTest, NormOfRowsAndOfHeadsAlsoInPlace) {
    for (const int n : {1, 7, 64, 576, 2050})
        for (const int n_groups : {1, 3}) {
            const OwnedWeight w(TensorType::kF32, n, 1, m_random);
            Matrix x(4, n * n_groups, 3);
            x.data = values(x.data.size(), -5, 5);
            const std::vector<float> before = x.data;
            m_ops->norm({.x = x.rows(), .weight = &w.weight, .eps = 1e-5f, .group = n_groups > 1 ? n : 0, .out = x.rows()});
            for (int t = 0; t < 4; ++t)
                for (int g = 0; g < n_groups; ++g) {
                    const float* in = before.data() + t * x.stride + g * n;
                    double squares = 0;
                    for (int i = 0; i < n; ++i) squares += static_cast<double>(in[i]) * in[i];
                    for (int i = 0; i < n; ++i) {
                        const double expected = in[i] / std::sqrt(squares / n + 1e-5) * w.row(0)[static_cast<size_t>(i)];
                        ASSERT_NEAR(x.rows().row(t)[g * n + i], expected, (4 + 8) * kEpsilon * std::fabs(expected)) << n << " " << i;
                    }
                }
        }
}

TEST_P(AttentionTest, EmbeddingIsTheScaledRow) {
    for (const TensorType type : loadable_types()) {
        const int width = tensor_type_info(type).block_values > 32 ? 768 : 96;
        const OwnedWeight table(type, width, 9, m_random);
        const std::vector<int32_t> ids{8, 0, 3, 3};
        Matrix out(4, width, 2), scaled(4, width, 2);
        m_ops->embed(table.weight, ids, 1, out.rows());
        m_ops->embed(table.weight, ids, 12, scaled.rows());
        for (int t = 0; t < 4; ++t) {
            const std::vector<float> row = table.row(ids[static_cast<size_t>(t)]);
            for (int i = 0; i < width; ++i) {
                ASSERT_EQ(out.rows().row(t)[i], row[static_cast<size_t>(i)]) << tensor_type_info(type).name;
                ASSERT_EQ(scaled.rows().row(t)[i], 12.0f * row[static_cast<size_t>(i)]);
            }
        }
    }
}

TEST_P(AttentionTest, StoredKeysAndValuesLandAtTheirPositions) {
    Cache kept(*m_ops, 2, 6, 2, 19, 3);
    Matrix new_k(2, 2 * 19, 1), new_v(2, 2 * 3, 1), k(6, 2 * 19), v(6, 2 * 3, 4);
    new_k.data = values(new_k.data.size());
    new_v.data = values(new_v.data.size());
    m_ops->store_kv(kept.cache, 1, 3, new_k.rows(), new_v.rows());
    const auto in_cache = [&](float x) { return kept.cache.type == KvType::kF16 ? half_to_float(float_to_half(x)) : x; };
    for (int layer = 0; layer < 2; ++layer) {
        m_ops->read_kv(kept.cache, layer, 0, k.rows(), v.rows());
        for (int s = 0; s < 6; ++s) {
            const bool written = layer == 1 && (s == 3 || s == 4);
            for (int i = 0; i < k.n_cols; ++i) EXPECT_EQ(k.rows().row(s)[i], written ? in_cache(new_k.rows().row(s - 3)[i]) : 0.0f);
            for (int i = 0; i < v.n_cols; ++i) EXPECT_EQ(v.rows().row(s)[i], written ? in_cache(new_v.rows().row(s - 3)[i]) : 0.0f);
        }
    }
}

TEST_P(AttentionTest, KeysAndValuesOfAHeadLieOneBehindTheOther) {
    const Cache kept(*m_ops, 2, 6, 2, 8, 4);
    EXPECT_EQ(kept.cache.k_at(0, 0, 1) - kept.cache.k_at(0, 0, 0), static_cast<ptrdiff_t>(8 * kv_value_bytes(m_ops->kv_type())));
    EXPECT_EQ(kept.cache.v_at(1, 0, 0) - kept.cache.v_at(0, 0, 0), static_cast<ptrdiff_t>(2 * 6 * 4 * kv_value_bytes(m_ops->kv_type())));
}

TEST_P(AttentionTest, AddScales) {
    for (const int n : {1, 5, 576, 40000}) {
        Matrix x(2, n, 1), y(2, n, 2);
        x.data = values(x.data.size());
        y.data = values(y.data.size());
        const std::vector<float> before = x.data;
        m_ops->add(x.rows(), y.rows(), 0.22f);
        for (int t = 0; t < 2; ++t)
            for (int i = 0; i < n; ++i) {
                const double a = before[static_cast<size_t>(t * x.stride + i)], b = 0.22f * static_cast<double>(y.rows().row(t)[i]);
                ASSERT_NEAR(x.rows().row(t)[i], a + b, 2 * kEpsilon * (std::fabs(a) + std::fabs(b)));
            }
    }
}

}  // namespace
}  // namespace gs::test
