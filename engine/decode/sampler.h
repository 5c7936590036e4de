// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"

namespace gs {

struct SamplerSettings {
    float temperature = 0.7f;          ///< 0 = greedy
    int top_k = 0;                     ///< 0 = off
    float top_p = 0.9f;                ///< 1 = off
    float min_p = 0;                   ///< 0 = off; drops tokens under min_p × the best probability
    float repeat_penalty = 1.1f;       ///< 1 = off; logits of the last repeat_window tokens are divided (if > 0) or multiplied by it
    int repeat_window = 64;
    uint64_t seed = 1;

    bool operator==(const SamplerSettings&) const = default;
    /// Always the largest logit, ties to the lower id; the other settings (repeat penalty too) are ignored then.
    bool is_greedy() const { return temperature <= 0; }
    /// "temp=0.7,top_p=0.9,repeat=1.1,seed=1"; "greedy" alone is allowed on reading.
    std::string to_text() const;
    static Result<SamplerSettings> parse(std::string_view text);
};

/// Deterministic: the same settings, seed and logits give the same ids on every machine.
class Sampler {
public:
    explicit Sampler(const SamplerSettings& settings);
    /// recent: tokens so far, oldest first. Ties: lower id. NaN logits are never chosen.
    int32_t sample(std::span<const float> logits, std::span<const int32_t> recent);

private:
    SamplerSettings m_settings;
    uint64_t m_state;
    void keep_candidates();
    double probability(int32_t id) const { return static_cast<double>(m_scratch[static_cast<size_t>(id)]); }
    std::vector<float> m_scratch;          ///< [V] logits, then probabilities relative to the best
    std::vector<int32_t> m_order;          ///< candidates
};

/// Natural-log probability of one id and the entropy (nats) of softmax(logits).
struct TokenStats {
    double logprob = 0, entropy = 0;
};
TokenStats token_stats(std::span<const float> logits, int32_t id);

}  // namespace gs
