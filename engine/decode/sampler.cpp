// Stages, in this order: repeat penalty on the logits, temperature, top-k, top-p, min-p, draw. Greedy skips them all.
#include "engine/decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/check.h"
#include "engine/decode/softmax_math.h"

namespace gs {
namespace {

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, any seed is good.
uint64_t next_random(uint64_t& state) {
    state += 0x9e3779b97f4a7c15ull;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

int32_t argmax(std::span<const float> logits) {
    size_t best = 0;
    bool found = false;
    for (size_t i = 0; i < logits.size(); ++i) {
        if (std::isnan(logits[i]) || (found && !(logits[i] > logits[best]))) continue;
        best = i;
        found = true;
    }
    return static_cast<int32_t>(best);
}

/// Keskar et al. 2019 (CTRL), section 4.1, with the sign rule that keeps the penalty a penalty for negative logits. Each id once.
void penalise(std::span<float> logits, std::span<const int32_t> recent, float penalty, int window) {
    if (penalty == 1) return;
    const size_t n = std::min(recent.size(), static_cast<size_t>(std::max(window, 0)));
    std::vector<int32_t> ids(recent.end() - static_cast<std::ptrdiff_t>(n), recent.end());
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const int32_t id : ids) {
        if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
        float& logit = logits[static_cast<size_t>(id)];
        logit = logit > 0 ? logit / penalty : logit * penalty;
    }
}

}  // namespace

Sampler::Sampler(const SamplerSettings& settings) : m_settings(settings), m_state(settings.seed) {}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> recent) {
    GS_CHECK(!logits.empty(), "there is nothing to choose from");
    if (m_settings.is_greedy()) return argmax(logits);
    m_scratch.assign(logits.begin(), logits.end());
    penalise(m_scratch, recent, m_settings.repeat_penalty, m_settings.repeat_window);

    // Unnormalised probabilities: exp((l - max) / temperature), the best one is 1.
    const float max = finite_max(m_scratch);
    const double inverse = 1.0 / static_cast<double>(m_settings.temperature);
    m_probabilities.resize(m_scratch.size());
    for (size_t i = 0; i < m_scratch.size(); ++i) m_probabilities[i] = exp_nonpositive(below_max(m_scratch[i], max) * inverse);
    for (size_t i = 0; i < m_scratch.size(); ++i)
        if (std::isnan(m_scratch[i])) m_probabilities[i] = 0;
    keep_candidates();

    double total = 0;
    for (const int32_t id : m_order) total += m_probabilities[static_cast<size_t>(id)];
    double left = static_cast<double>(next_random(m_state) >> 11) * 0x1p-53 * total;
    for (const int32_t id : m_order) {
        left -= m_probabilities[static_cast<size_t>(id)];
        if (left < 0) return id;
    }
    return m_order.back();
}

/// Fills m_order with the ids that top-k, top-p and min-p leave, best first; all with a probability, in order of id, when they are off.
void Sampler::keep_candidates() {
    const auto p = [this](int32_t id) { return m_probabilities[static_cast<size_t>(id)]; };
    const double total = std::accumulate(m_probabilities.begin(), m_probabilities.end(), 0.0);
    const bool nucleus = m_settings.top_p < 1, best_k = m_settings.top_k > 0;
    // Ids under (1 - top_p) / V hold less than 1 - top_p together, so the nucleus lies among the others, which are few enough to sort.
    double floor = m_settings.min_p;
    if (nucleus && !best_k) floor = std::max(floor, (1.0 - static_cast<double>(m_settings.top_p)) * total / static_cast<double>(m_probabilities.size()));
    m_order.clear();
    for (size_t i = 0; i < m_probabilities.size(); ++i)
        if (m_probabilities[i] > 0 && m_probabilities[i] >= floor) m_order.push_back(static_cast<int32_t>(i));
    if (m_order.empty()) m_order.push_back(0);   // every logit is NaN
    if (!nucleus && !best_k) return;

    const auto before = [&](int32_t a, int32_t b) { return p(a) > p(b) || (p(a) == p(b) && a < b); };
    const size_t n = best_k ? std::min(m_order.size(), static_cast<size_t>(m_settings.top_k)) : m_order.size();
    std::partial_sort(m_order.begin(), m_order.begin() + static_cast<std::ptrdiff_t>(n), m_order.end(), before);
    m_order.resize(n);
    if (!nucleus) return;
    double mass = total;
    if (best_k) {
        mass = 0;
        for (const int32_t id : m_order) mass += p(id);
    }
    const double wanted = mass * static_cast<double>(m_settings.top_p);
    double sum = 0;
    size_t kept = 0;
    while (kept < n && (kept == 0 || sum < wanted)) sum += p(m_order[kept++]);
    m_order.resize(kept);
}

TokenStats token_stats(std::span<const float> logits, int32_t id) {
    GS_CHECK(id >= 0 && static_cast<size_t>(id) < logits.size(), "token id outside the logits");
    const float max = finite_max(logits);
    double sum = 0, weighted = 0;   // of e^d and d e^d
    for (const float l : logits) {
        const double d = below_max(l, max), e = exp_nonpositive(d);
        sum += e;
        weighted += d * e;
    }
    const double log_sum = std::log(sum);
    return {below_max(logits[static_cast<size_t>(id)], max) - log_sum, std::max(log_sum - weighted / sum, 0.0)};
}

}  // namespace gs
