// Internal to engine/run: what one pass over one window of a text gives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/decode/decoder.h"

namespace gs {

/// Tokens per forward pass: small enough for live progress, large enough to share weight reads.
inline constexpr int kPassTokens = 64;

/// kInput "text_too_short": fewer than two tokens.
Error text_too_short(size_t n_tokens);

/// Chosen experts of every token and MoE layer of a window, and sums over all of them.
class RouteTally final : public RouteSink {
public:
    RouteTally(int n_moe_layers, int n_tokens);
    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids,
                  std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) override;
    /// Rows of the next forward() start at this token of the window.
    void set_offset(int token) { m_offset = token; }

    std::span<const int32_t> ids(int moe_layer, int token) const { return m_ids[index(moe_layer, token)]; }
    double sum_weights = 0;
    uint64_t n_assigned = 0, n_rows = 0;     ///< (token, layer) pairs: experts used, and how many there were

private:
    size_t index(int moe_layer, int token) const { return static_cast<size_t>(moe_layer) * static_cast<size_t>(m_n_tokens) + static_cast<size_t>(token); }
    int m_n_tokens, m_offset = 0;
    std::vector<std::vector<int32_t>> m_ids;
};

/// |A ∩ B| / max(|A|, |B|), the saturation formula of metrics.h, for one token and layer.
double overlap(std::span<const int32_t> a, std::span<const int32_t> b);

/// Log-softmax in f64 of one row: values[i] - log_sum is the natural log-probability of id i.
struct LogProbs {
    std::span<const float> values;
    double log_sum = 0;
    int32_t best = 0;                        ///< most probable id, ties to the lower one

    explicit LogProbs(std::span<const float> logits);
    double of(size_t id) const { return static_cast<double>(values[id]) - log_sum; }
};

/// KL(p ‖ q) in nats; exactly 0 for equal logits.
double kl_divergence(const LogProbs& p, const LogProbs& q);

/// Mean of values that come one at a time, and its standard error (Welford 1962).
struct RunningMean {
    int64_t n = 0;
    double mean = 0, squares = 0;            ///< squares: Σ (value − mean)²

    void add(double value);
    /// sqrt(sample variance / n), as for independent values; 0 for fewer than two.
    double standard_error() const;
};

/// Means over the scored positions of a text: what a policy costs.
struct NextTokenTotals {
    RunningMean nll, kl;                     ///< nats: -log q(next token), KL(reference ‖ q)
    RunningMean excess_nll;                  ///< nll minus the reference's at the same position
    int64_t n_scored = 0, n_same_top = 0;

    /// One position: the reference's prediction, the logits under the policy, and the token that does follow.
    void add(const LogProbs& reference, std::span<const float> logits, int32_t next);
    double mean_nll() const { return nll.mean; }
    double mean_kl() const { return kl.mean; }
    double top1_agreement() const { return n_scored > 0 ? static_cast<double>(n_same_top) / static_cast<double>(n_scored) : 0; }
    /// Of top1_agreement(): sqrt(p (1 - p) / (n - 1)).
    double top1_standard_error() const;
};

}  // namespace gs
