// Ops::step on every back end: however often a step comes, and whatever changes in memory between, it gives what its calls give.
#include <memory>
#include <vector>

#include "tests/ops/backends.h"

namespace gs::test {
namespace {

class StepTest : public OpsTest {};

INSTANTIATE_TEST_SUITE_P(Backends, StepTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

/// Floats of a back end's memory.
struct Memory {
    Memory(Ops& back_end, size_t n_floats) : ops(back_end), data(ops.allocate(n_floats)), n(n_floats) {}
    ~Memory() { ops.release(data); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    Rows rows(int n_rows) const { return {data, n_rows, static_cast<int>(n) / n_rows, static_cast<int>(n) / n_rows}; }
    int32_t* integers() const { return reinterpret_cast<int32_t*>(data); }
    std::vector<float> read() const {
        std::vector<float> values(n);
        ops.read(data, values.data(), n);
        return values;
    }

    Ops& ops;
    float* data;
    size_t n;
};

struct Weights {
    static constexpr int kWidth = 32, kExperts = 6, kVocab = 20;
    explicit Weights(std::mt19937& random)
        : table(TensorType::kQ8_0, kWidth, kVocab, random), norm(TensorType::kF32, kWidth, 1, random), router(TensorType::kF32, kWidth, kExperts, random),
          experts(TensorType::kQ8_0, TensorType::kQ8_0, kWidth, 64, random, kExperts) {}
    std::vector<Weight> matrices() const {
        return {table.weight, router.weight, experts.weights.gate, experts.weights.up, experts.weights.down};
    }
    OwnedWeight table, norm, router;
    OwnedFfn experts;
};

/// A small decoder layer of one head, with what it keeps.
class Layer {
public:
    Layer(Ops& ops, const Weights& weights, int n_rows, int n_ctx)
        : m_ops(ops), m_weights(weights), m_rows(n_rows), m_x(ops, width()), m_q(ops, width()), m_mixed(ops, width()), m_out(ops, width()),
          m_keys(ops, static_cast<size_t>(n_ctx) * Weights::kWidth), m_values(ops, static_cast<size_t>(n_ctx) * Weights::kWidth),
          m_logits(ops, slots()), m_ids(ops, slots()), m_by(ops, slots()), m_used(ops, static_cast<size_t>(n_rows)), m_nonfinite(ops, 1),
          m_routers(ops.make_routers()) {
        m_cache = {reinterpret_cast<std::byte*>(m_keys.data), reinterpret_cast<std::byte*>(m_values.data), ops.kv_type(), 1, n_ctx, 1, Weights::kWidth, Weights::kWidth};
    }
    void set(const LayerPolicy& policy) {
        const LayerRouter router{{.n_experts = Weights::kExperts, .n_used = 2}, policy, {}};
        m_routers->set({&router, 1});
    }
    void call(std::span<const int32_t> ids, int position) {
        const Rows x = m_x.rows(m_rows), q = m_q.rows(m_rows), out = m_out.rows(m_rows), mixed = m_mixed.rows(m_rows), logits = m_logits.rows(m_rows);
        m_ops.embed(m_weights.table.weight, ids, 3, x);
        m_ops.norm({.x = x, .weight = &m_weights.norm.weight, .eps = 1e-5f, .out = q});
        m_ops.rope({.n_rot = 16}, {}, q, 1, Weights::kWidth, position);
        m_ops.store_kv(m_cache, 0, position, q, x);
        m_ops.rope({.n_rot = 32, .base = 500}, {}, q, 1, Weights::kWidth, position);
        m_ops.grow(q, {.step = 4}, position);
        m_ops.attention({.q = q, .cache = &m_cache, .first_position = position, .n_heads = 1, .head_dim_v = Weights::kWidth, .scale = 0.2f, .out = mixed});
        const LinearCall project{.weight = &m_weights.router.weight, .out = logits};
        m_ops.linear(mixed, {&project, 1});
        m_ops.route({.routers = m_routers.get(), .logits = logits, .ids = m_ids.integers(), .weights = m_by.data, .n_used = m_used.integers(),
                     .k_stride = Weights::kExperts, .nonfinite = m_nonfinite.integers(), .first_position = position});
        m_ops.moe({.x = mixed, .experts = &m_weights.experts.weights, .ids = m_ids.integers(), .weights = m_by.data, .n_used = m_used.integers(),
                   .k_stride = Weights::kExperts, .out = out});
        m_ops.add(out, x, 1);
    }
    std::vector<float> result() const { return m_out.read(); }

private:
    size_t width() const { return static_cast<size_t>(m_rows) * Weights::kWidth; }
    size_t slots() const { return static_cast<size_t>(m_rows) * Weights::kExperts; }

    Ops& m_ops;
    const Weights& m_weights;
    int m_rows;
    Memory m_x, m_q, m_mixed, m_out, m_keys, m_values, m_logits, m_ids, m_by, m_used, m_nonfinite;
    std::unique_ptr<Routers> m_routers;
    KvCache m_cache;
};

TEST_P(StepTest, GivesWhatItsCallsGiveWhateverChangesBetween) {
    const Weights weights(m_random);
    const std::unique_ptr<Ops> plain_ops = GetParam().make();
    const auto owner = std::make_shared<int>();
    for (Ops* ops : {m_ops.get(), plain_ops.get()}) ops->adopt(weights.matrices(), std::vector{weights.norm.weight}, owner, {});
    LayerPolicy one, all, masked;
    one.rule = GateRule::kTopK, one.k = 1;
    all.rule = GateRule::kSoft;
    masked.rule = GateRule::kTopK, masked.k = 3;
    masked.masked.assign(Weights::kExperts, 0);
    masked.masked[2] = 1;
    masked.noise = 0.5f;             // depends on the position, which a later step has to find in the device's memory
    const std::vector<LayerPolicy> policies{{}, one, all, masked};
    // Nine rows are more than a few.
    for (const int n_rows : {1, 3, 9}) {
        Layer stepping(*m_ops, weights, n_rows, 80), plain(*plain_ops, weights, n_rows, 80);
        for (int round = 0; round < 8; ++round) {
            const LayerPolicy& policy = policies[static_cast<size_t>(round) / 2];
            stepping.set(policy);
            plain.set(policy);
            std::vector<int32_t> ids;
            for (int t = 0; t < n_rows; ++t) ids.push_back(static_cast<int32_t>(m_random() % Weights::kVocab));
            m_ops->step({.maker = &stepping}, ids, round * n_rows, [&] { return stepping.call(ids, round * n_rows), true; });
            plain.call(ids, round * n_rows);
            ASSERT_EQ(stepping.result(), plain.result()) << n_rows << " rows, round " << round;
        }
    }
}

// Against its contract, but nothing may go wrong without a word: what the host does in it is done every time.
TEST_P(StepTest, OneThatReadsAndWritesGoesThroughItsCallsEveryTime) {
    Memory memory(*m_ops, 4), sum(*m_ops, 4);
    const std::vector<int32_t> ids{1};
    for (int round = 1; round <= 5; ++round) {
        const std::vector<float> values(4, static_cast<float>(round));
        std::vector<float> back(4);
        m_ops->step({.maker = &memory}, ids, round, [&] {
            m_ops->write(values.data(), memory.data, 4);
            m_ops->copy(memory.rows(1), sum.rows(1));
            m_ops->scale(sum.rows(1), 2);
            m_ops->read(sum.data, back.data(), 4);
            return true;
        });
        EXPECT_EQ(back, std::vector<float>(4, 2.0f * static_cast<float>(round)));
        EXPECT_EQ(sum.read(), back);
    }
    EXPECT_TRUE(m_ops->check());
}

TEST_P(StepTest, OneThatBreaksOffIsMadeAnewWhole) {
    Memory memory(*m_ops, 2);
    const std::vector<int32_t> ids{1};
    const float one[] = {1, 1};
    m_ops->write(one, memory.data, 2);
    for (int round = 0; round < 8; ++round) {
        const bool breaks = round == 0 || round == 2;
        float done = 0;
        m_ops->read(memory.data, &done, 1);
        m_ops->step({.maker = &memory}, ids, round, [&] {
            m_ops->scale(memory.rows(1), 2);
            if (breaks) return false;
            m_ops->scale(memory.rows(1), 3);
            return true;
        });
        const std::vector<float> after = memory.read();
        if (breaks) {
            // It has no result: what it began may be there or not.
            EXPECT_TRUE(after[0] == done || after[0] == 2 * done) << round;
            continue;
        }
        EXPECT_EQ(after, std::vector<float>(2, done * 6)) << round;
    }
}

}  // namespace
}  // namespace gs::test
