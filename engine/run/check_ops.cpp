// Rows, attention and routing; products are in check_products.cpp.
#include "engine/run/check_ops.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "engine/decode/sampler.h"
#include "engine/run/check_ops_base.h"

namespace gs {
namespace {

class RowChecks : public OpsChecker {
public:
    explicit RowChecks(Ops& ops) : OpsChecker(ops, 20240607) {}
    std::vector<OpsCheck> run() {
        rows();
        attentions();
        routing();
        scores();
        return std::move(m_checks);
    }

private:
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
                attention(fmt::format("attention of heads of 256, {} tokens at {}", n_tokens, first / 5), 4, 2, 256, first / 5, n_tokens, {}, 0, true);
                attention(fmt::format("attention of heads of 384, {} tokens at {}", n_tokens, first / 5), 3, 1, 384, first / 5, n_tokens, {.window = 100}, 0, false);
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

    /// Against the host's own, for which exp is good to 2 units, as here; sums are f64.
    void scores() {
        constexpr int kRows = 3, kVocab = 5003;
        if (!m_ops.scores_rows()) return;
        const std::vector<float> logits = values(kRows * kVocab, -9, 9);
        const std::vector<int32_t> ids{17, 0, kVocab - 1};
        const Sheet in(m_ops, kRows, kVocab, logits), out(m_ops, kRows, 3);
        m_ops.score({.logits = in.rows(), .ids = ids, .out = out.rows().data});
        const std::vector<float> said = out.read();
        OpsCheck check{"score", true, 0};
        for (size_t r = 0; r < kRows; ++r) {
            const TokenStats expected = token_stats(std::span(logits).subspan(r * kVocab, kVocab), ids[r]);
            // Below 27: log-probability and what entropy is the mean of. Rounded once more on its way back.
            const double allowed = 8 * kEpsilon * 27;
            for (const double difference : {said[3 * r] - expected.logprob, said[3 * r + 1] - expected.entropy}) {
                check.worst = std::max(check.worst, std::fabs(difference) / allowed);
                check.pass = check.pass && std::fabs(difference) <= allowed;
            }
            check.pass = check.pass && said[3 * r + 2] == 1;
        }
        m_checks.push_back(check);
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
};

}  // namespace

std::vector<OpsCheck> check_ops(Ops& ops) {
    std::vector<OpsCheck> checks = RowChecks(ops).run();
    for (OpsCheck& check : check_products(ops)) checks.push_back(std::move(check));
    return checks;
}

}  // namespace gs
