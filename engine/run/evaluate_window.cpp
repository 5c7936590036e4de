#include "engine/run/evaluate_window.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/decode/softmax_math.h"

namespace gs {

Error text_too_short(size_t n_tokens) {
    return {ErrorKind::kInput, "text_too_short", "The text is too short to score",
            fmt::format("it has {} tokens; each prediction needs one before it", n_tokens), "Give a text of at least a few words"};
}

RouteTally::RouteTally(int n_moe_layers, int n_tokens)
    : m_n_tokens(n_tokens), m_ids(static_cast<size_t>(n_moe_layers) * static_cast<size_t>(n_tokens)) {}

void RouteTally::on_route(int moe_layer, int first_row, int n_rows_now, std::span<const float>, std::span<const int32_t> ids,
                          std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) {
    for (int r = 0; r < n_rows_now; ++r) {
        const auto row = static_cast<size_t>(r), k = static_cast<size_t>(n_used[row]), at = row * static_cast<size_t>(k_stride);
        const std::span<const int32_t> chosen = ids.subspan(at, k);
        m_ids[index(moe_layer, m_offset + first_row + r)].assign(chosen.begin(), chosen.end());
        for (const float w : weights.subspan(at, k)) sum_weights += static_cast<double>(w);
        n_assigned += k;
        ++n_rows;
    }
}

double overlap(std::span<const int32_t> a, std::span<const int32_t> b) {
    const auto common = std::count_if(a.begin(), a.end(), [&](int32_t id) { return std::find(b.begin(), b.end(), id) != b.end(); });
    const size_t larger = std::max(a.size(), b.size());
    return larger == 0 ? 1 : static_cast<double>(common) / static_cast<double>(larger);
}

LogProbs::LogProbs(std::span<const float> logits) : values(logits) {
    for (size_t i = 1; i < logits.size(); ++i)
        if (logits[i] > logits[static_cast<size_t>(best)]) best = static_cast<int32_t>(i);
    const double max = static_cast<double>(logits[static_cast<size_t>(best)]);
    double sum = 0;
    for (const float l : logits) sum += exp_nonpositive(static_cast<double>(l) - max);
    log_sum = max + std::log(sum);
}

double kl_divergence(const LogProbs& p, const LogProbs& q) {
    double sum = 0;
    for (size_t i = 0; i < p.values.size(); ++i) {
        const double log_p = p.of(i);
        sum += exp_nonpositive(log_p < 0 ? log_p : 0) * (log_p - q.of(i));
    }
    return std::max(sum, 0.0);   // rounding can leave a tiny negative sum
}

void RunningMean::add(double value) {
    const double off = value - mean;
    mean += off / static_cast<double>(++n);
    squares += off * (value - mean);
}

double RunningMean::standard_error() const { return n < 2 ? 0 : std::sqrt(squares / static_cast<double>(n - 1) / static_cast<double>(n)); }

double NextTokenTotals::top1_standard_error() const {
    const double p = top1_agreement();
    return n_scored < 2 ? 0 : std::sqrt(p * (1 - p) / static_cast<double>(n_scored - 1));
}

void NextTokenTotals::add(const LogProbs& reference, std::span<const float> logits, int32_t next) {
    const LogProbs q(logits);
    const double loss = -q.of(static_cast<size_t>(next));
    nll.add(loss);
    excess_nll.add(loss + reference.of(static_cast<size_t>(next)));
    kl.add(kl_divergence(reference, q));
    n_same_top += reference.best == q.best;
    ++n_scored;
}

}  // namespace gs
