// Products with matrices, gated networks, mixtures.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/ops/rounding.h"
#include "engine/run/check_ops_base.h"

namespace gs {
namespace {

class ProductChecks : public OpsChecker {
public:
    explicit ProductChecks(Ops& ops) : OpsChecker(ops, 20240608) {}
    std::vector<OpsCheck> run() {
        for (const TensorTypeInfo& type : all_tensor_types())
            if (type.dequantize) products(type);
        norm_products();
        transposed_products();
        networks();
        return std::move(m_checks);
    }

private:
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

    /// A norm and what is multiplied with it, which back ends may do at once: what the norm is off by goes through every product.
    void norm_products() {
        constexpr int kIn = 640, kOut = 48;
        for (const NormKind kind : {NormKind::kRms, NormKind::kLayer})
            for (const int n_tokens : {1, 5, 40}) {
                const Weight scale = weight(TensorType::kF16, kIn, 1), first = weight(TensorType::kQ8_0, kIn, kOut), second = weight(TensorType::kF32, kIn, kOut);
                const std::vector<float> x = values(n_tokens * kIn, -3, 3);
                Sheet in(*m_reference, n_tokens, kIn, x), normed(*m_reference, n_tokens, kIn);
                m_reference->norm({.x = in.rows(), .kind = kind, .weight = &scale, .eps = 1e-5f, .out = normed.rows()});
                const std::vector<float> rows = normed.read();
                std::vector<double> bound;
                for (const Weight* w : {&first, &second}) {
                    const std::vector<double> product = product_bound(*w, rows, n_tokens), values_off = magnitude(*w, rows, n_tokens);
                    for (size_t i = 0; i < product.size(); ++i) bound.push_back(product[i] + (kIn / 2 + 32) * kEpsilon * values_off[i]);
                }
                compare(fmt::format("norm {} and linear, {} tokens", kind == NormKind::kRms ? "rms" : "layer", n_tokens), 1, 2 * n_tokens * kOut, bound,
                        [&](Ops& ops, Rows out) {
                            const Sheet here(ops, n_tokens, kIn, x), kept(ops, n_tokens, kIn);
                            const Rows all{out.data, 2 * n_tokens, kOut, kOut};
                            const LinearCall calls[] = {{.weight = &first, .out = all.first(n_tokens)}, {.weight = &second, .out = all.from(n_tokens, n_tokens)}};
                            ops.norm_linear({.x = here.rows(), .kind = kind, .weight = &scale, .eps = 1e-5f, .out = kept.rows()}, calls);
                        });
            }
    }

    /// Σ |w x| of every token and row.
    static std::vector<double> magnitude(const Weight& w, const std::vector<float>& x, int n_tokens) {
        const TensorTypeInfo& info = tensor_type_info(w.type);
        const auto n = static_cast<size_t>(w.n_in);
        std::vector<float> row(n);
        std::vector<double> sums(static_cast<size_t>(n_tokens) * static_cast<size_t>(w.n_out), 0);
        for (int o = 0; o < w.n_out; ++o) {
            info.dequantize(w.row(o), n / info.block_values, row.data());
            for (int t = 0; t < n_tokens; ++t)
                for (size_t i = 0; i < n; ++i)
                    sums[static_cast<size_t>(t) * static_cast<size_t>(w.n_out) + static_cast<size_t>(o)] +=
                        std::fabs(static_cast<double>(row[i]) * static_cast<double>(x[static_cast<size_t>(t) * n + i]));
        }
        return sums;
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
};

}  // namespace

std::vector<OpsCheck> check_products(Ops& ops) { return ProductChecks(ops).run(); }

}  // namespace gs
