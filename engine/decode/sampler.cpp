// Stages, in this order: repeat penalty on the logits, temperature, top-k, top-p, min-p, draw. Greedy skips them all.
#include "engine/decode/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
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

/// The largest logit, with NaN as the lowest and +infinity as the largest finite number.
float finite_max(std::span<const float> logits) {
    float best = std::numeric_limits<float>::lowest();
    for (const float l : logits) best = l > best ? l : best;   // false for NaN
    return std::min(best, std::numeric_limits<float>::max());
}

/// l - max, at most 0; so low for NaN that its exp is 0.
float below_max(float l, float max) {
    constexpr float kNever = -1000;
    const float d = std::min(l, max) - max;
    return d <= 0 ? std::max(d, kNever) : kNever;
}

}  // namespace

Sampler::Sampler(const SamplerSettings& settings) : m_settings(settings), m_state(settings.seed) {}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> recent) {
    GS_CHECK(!logits.empty(), "there is nothing to choose from");
    if (m_settings.is_greedy()) return argmax(logits);
    m_scratch.assign(logits.begin(), logits.end());
    penalise(m_scratch, recent, m_settings.repeat_penalty, m_settings.repeat_window);

    // Unnormalised probabilities: exp((l - max) / temperature), the best one is 1. exp is ours and built of additions and multiplications
    // only, so the ids are the same on every machine.
    const float max = finite_max(m_scratch), temperature = m_settings.temperature;
    for (float& l : m_scratch) l = std::max(below_max(l, max) / temperature, -1000.0f);
    exp_nonpositive(m_scratch);
    keep_candidates();

    double total = 0;
    for (const int32_t id : m_order) total += probability(id);
    double left = static_cast<double>(next_random(m_state) >> 11) * 0x1p-53 * total;
    for (const int32_t id : m_order) {
        left -= probability(id);
        if (left < 0) return id;
    }
    return m_order.back();
}

/// Fills m_order with the ids that top-k, top-p and min-p leave, best first; all with a probability, in order of id, when they are off.
void Sampler::keep_candidates() {
    m_order.clear();
    for (size_t i = 0; i < m_scratch.size(); ++i)
        if (m_scratch[i] > 0 && m_scratch[i] >= m_settings.min_p) m_order.push_back(static_cast<int32_t>(i));
    if (m_order.empty()) m_order.push_back(0);   // every logit is NaN
    const bool nucleus = m_settings.top_p < 1, best_k = m_settings.top_k > 0;
    if (!nucleus && !best_k) return;

    // A heap: the few that stay are taken off one by one, the many others are never sorted.
    const auto worse = [this](int32_t a, int32_t b) { return probability(a) < probability(b) || (probability(a) == probability(b) && a > b); };
    std::make_heap(m_order.begin(), m_order.end(), worse);
    const size_t n = best_k ? std::min(m_order.size(), static_cast<size_t>(m_settings.top_k)) : m_order.size();
    // Taken ones gather at the end, best last. Without top-k the nucleus is one of the whole distribution, what min-p drops included.
    double mass = best_k ? 0 : std::accumulate(m_scratch.begin(), m_scratch.end(), 0.0), sum = 0;
    size_t n_taken = 0;
    const auto take = [&] {
        std::pop_heap(m_order.begin(), m_order.end() - static_cast<std::ptrdiff_t>(n_taken), worse);
        ++n_taken;
        return probability(m_order[m_order.size() - n_taken]);
    };
    if (best_k) {
        while (n_taken < n) mass += take();
    } else {
        while (n_taken < n && (n_taken == 0 || sum < mass * m_settings.top_p)) sum += take();
    }
    std::reverse(m_order.begin(), m_order.end());
    m_order.resize(n_taken);
    if (!best_k || !nucleus) return;
    size_t n_kept = 0;
    while (n_kept < n_taken && (n_kept == 0 || sum < mass * m_settings.top_p)) sum += probability(m_order[n_kept++]);
    m_order.resize(n_kept);
}

TokenStats token_stats(std::span<const float> logits, int32_t id) {
    GS_CHECK(id >= 0 && static_cast<size_t>(id) < logits.size(), "token id outside the logits");
    const float max = finite_max(logits);
    constexpr size_t kBlock = 512, kLanes = 8;   // several sums at once, or each addition waits for the one before
    float d[kBlock], e[kBlock];
    double sums[kLanes] = {}, weighted[kLanes] = {};   // of e^d and d e^d
    for (size_t start = 0; start < logits.size(); start += kBlock) {
        const size_t n = std::min(kBlock, logits.size() - start);
        for (size_t i = 0; i < n; ++i) e[i] = d[i] = below_max(logits[start + i], max);
        exp_nonpositive(std::span<float>(e, n));
        std::fill(d + n, d + kBlock, 0.0f);
        std::fill(e + n, e + kBlock, 0.0f);
        for (size_t i = 0; i < kBlock; i += kLanes)
            for (size_t lane = 0; lane < kLanes; ++lane) {
                sums[lane] += static_cast<double>(e[i + lane]);
                weighted[lane] += static_cast<double>(d[i + lane] * e[i + lane]);
            }
    }
    const double sum = std::accumulate(sums, sums + kLanes, 0.0), log_sum = std::log(sum);
    const double entropy = log_sum - std::accumulate(weighted, weighted + kLanes, 0.0) / sum;
    return {static_cast<double>(below_max(logits[static_cast<size_t>(id)], max)) - log_sum, std::max(entropy, 0.0)};
}

}  // namespace gs
