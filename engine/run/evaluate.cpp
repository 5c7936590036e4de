#include "engine/run/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>

#include "engine/core/check.h"
#include "engine/run/evaluate_window.h"
#include "engine/run/run_types.h"

namespace gs {
namespace {

/// Sums of one policy over all windows so far.
struct Totals {
    NextTokenTotals next;
    double sum_weights = 0;
    int64_t n_routed_tokens = 0;
    std::vector<double> overlap;                 ///< [M] summed over tokens
    uint64_t n_assigned = 0, n_rows = 0;
};

class Scorer {
public:
    Scorer(Decoder& decoder, std::span<const int32_t> ids, const Policy& reference, std::span<const Policy> policies,
           const EvaluateOptions& options, const ScoreProgress& progress, const CancelFlag* cancel)
        : m_decoder(decoder), m_ids(ids), m_reference(reference), m_options(options), m_progress(progress), m_cancel(cancel),
          m_window(std::min(options.window, decoder.n_ctx())), m_totals(policies.size()) {
        for (const Policy& policy : policies) m_scores.push_back({.policy = policy});
        for (Totals& t : m_totals) t.overlap.assign(decoder.model().spec.moe_layers.size(), 0.0);
    }
    ~Scorer() {
        m_decoder.set_sink(nullptr);
        m_decoder.set_logit_function(nullptr);
    }
    Scorer(const Scorer&) = delete;
    Scorer& operator=(const Scorer&) = delete;

    Result<std::vector<PolicyScore>> run();

private:
    using OnLogits = std::function<void(int token, std::span<const float> logits)>;
    Result<void> run_window(int first, int size);
    Result<void> pass(const Policy& policy, int first, int size, RouteTally& tally, const OnLogits& on_logits);
    Result<void> time_policy(PolicyScore& score);
    void add_routes(Totals& totals, const RouteTally& tally, const RouteTally& reference, int first, int size);
    void update_scores();
    void report() const;

    Decoder& m_decoder;
    std::span<const int32_t> m_ids;
    const Policy& m_reference;
    const EvaluateOptions& m_options;
    const ScoreProgress& m_progress;
    const CancelFlag* m_cancel;
    int m_window;
    std::vector<PolicyScore> m_scores;
    std::vector<Totals> m_totals;
    std::vector<float> m_reference_logits;       ///< [window, V]
    std::vector<LogProbs> m_reference_probs;           ///< [window] over those
    int64_t m_done = 0, m_work = 0;              ///< tokens
};

/// Teacher-forced over one window from an empty cache.
Result<void> Scorer::pass(const Policy& policy, int first, int size, RouteTally& tally, const OnLogits& on_logits) {
    m_decoder.set_policy(policy);
    m_decoder.set_sink(&tally);
    for (int done = 0; done < size; done += kPassTokens) {
        const int n = std::min(kPassTokens, size - done);
        tally.set_offset(done);
        m_decoder.set_logit_function([&](int row, std::span<const float> logits) { on_logits(done + row, logits); });
        GS_TRY_VOID(m_decoder.forward(m_ids.subspan(static_cast<size_t>(first + done), static_cast<size_t>(n)), done, LogitRows::kAll, m_cancel));
        m_done += n;
        report();
    }
    return {};
}

Result<void> Scorer::run_window(int first, int size) {
    const auto n_vocab = static_cast<size_t>(m_decoder.model().spec.n_vocab);
    const int n_layers = static_cast<int>(m_decoder.model().spec.moe_layers.size());
    const auto is_scored = [&](int token) {
        const int position = first + token;
        return position >= m_options.first_scored && position + 1 < static_cast<int>(m_ids.size());
    };
    m_reference_logits.resize(static_cast<size_t>(size) * n_vocab);
    const auto reference_row = [&](int token) { return std::span<float>(m_reference_logits).subspan(static_cast<size_t>(token) * n_vocab, n_vocab); };
    RouteTally reference(n_layers, size);
    GS_TRY_VOID(pass(m_reference, first, size, reference, [&](int token, std::span<const float> logits) {
        std::copy(logits.begin(), logits.end(), reference_row(token).begin());
    }));
    m_reference_probs.clear();
    for (int token = 0; token < size; ++token) m_reference_probs.emplace_back(reference_row(token));
    for (size_t i = 0; i < m_scores.size(); ++i) {
        Totals& totals = m_totals[i];
        RouteTally tally(n_layers, size);
        GS_TRY_VOID(pass(m_scores[i].policy, first, size, tally, [&](int token, std::span<const float> logits) {
            if (is_scored(token)) totals.next.add(m_reference_probs[static_cast<size_t>(token)], logits, m_ids[static_cast<size_t>(first + token) + 1]);
        }));
        add_routes(totals, tally, reference, first, size);
        update_scores();
    }
    return {};
}

void Scorer::add_routes(Totals& totals, const RouteTally& tally, const RouteTally& reference, int first, int size) {
    totals.sum_weights += tally.sum_weights;
    totals.n_assigned += tally.n_assigned;
    totals.n_rows += tally.n_rows;
    for (int token = std::max(0, m_options.first_scored - first); token < size; ++token) {
        ++totals.n_routed_tokens;
        for (size_t m = 0; m < totals.overlap.size(); ++m)
            totals.overlap[m] += overlap(tally.ids(static_cast<int>(m), token), reference.ids(static_cast<int>(m), token));
    }
}

void Scorer::update_scores() {
    const Model& model = m_decoder.model();
    for (size_t i = 0; i < m_scores.size(); ++i) {
        const Totals& t = m_totals[i];
        PolicyScore& s = m_scores[i];
        s.n_scored = static_cast<int>(t.next.n_scored);
        s.perplexity = t.next.n_scored > 0 ? std::exp(t.next.mean_nll()) : 0;
        s.kl = t.next.mean_kl();
        s.top1_agreement = t.next.top1_agreement();
        s.route_agreement = t.overlap;
        for (double& value : s.route_agreement) value /= static_cast<double>(std::max<int64_t>(t.n_routed_tokens, 1));
        const double rows = static_cast<double>(std::max<uint64_t>(t.n_rows, 1));
        s.mean_sum_weights = t.sum_weights / rows;
        s.bytes_per_token = static_cast<double>(model.dense_bytes_per_token) + static_cast<double>(t.n_assigned) / rows *
                            static_cast<double>(model.spec.moe_layers.size()) * static_cast<double>(model.expert_bytes);
    }
}

/// Single-token steps over the cache that the last window left behind; the first two warm up.
Result<void> Scorer::time_policy(PolicyScore& score) {
    constexpr int kWarmUp = 2;
    const int n_tokens = static_cast<int>(m_ids.size());
    const int first = (n_tokens - 1) / m_window * m_window, size = n_tokens - first;
    const int n = std::min(m_options.timed_tokens, m_window - kWarmUp);
    if (n < 1) return {};
    m_decoder.set_policy(score.policy);
    m_decoder.set_sink(nullptr);
    std::chrono::steady_clock::time_point start;
    for (int i = -kWarmUp; i < n; ++i) {
        if (i == 0) start = std::chrono::steady_clock::now();
        const int position = std::clamp(size - n + i, 0, m_window - 1);
        GS_TRY_VOID(m_decoder.forward(m_ids.subspan(static_cast<size_t>(std::min(first + position, n_tokens - 1)), 1), position, LogitRows::kLast, m_cancel));
    }
    score.tokens_per_s = n / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return {};
}

/// Policies that have something to show, over the windows done so far.
void Scorer::report() const {
    if (!m_progress) return;
    std::vector<PolicyScore> started;
    for (const PolicyScore& score : m_scores)
        if (score.n_scored > 0) started.push_back(score);
    m_progress(started, static_cast<double>(m_done) / static_cast<double>(std::max<int64_t>(m_work, 1)));
}

Result<std::vector<PolicyScore>> Scorer::run() {
    const int n_tokens = static_cast<int>(m_ids.size());
    m_work = static_cast<int64_t>(n_tokens) * static_cast<int64_t>(m_scores.size() + 1);
    for (int first = 0; first < n_tokens; first += m_window) GS_TRY_VOID(run_window(first, std::min(m_window, n_tokens - first)));
    for (PolicyScore& score : m_scores) {
        if (m_options.timed_tokens <= 0) break;
        GS_TRY_VOID(time_policy(score));
        report();
    }
    return m_scores;
}

}  // namespace

Result<std::vector<PolicyScore>> score_policies(Decoder& decoder, std::span<const int32_t> ids, const Policy& reference,
                                                std::span<const Policy> policies, const EvaluateOptions& options, const ScoreProgress& progress,
                                                const CancelFlag* cancel) {
    GS_CHECK(options.window >= 1, "a window holds at least one token");
    if (ids.size() < 2) return text_too_short(ids.size());
    const ModelSpec& spec = decoder.model().spec;
    GS_TRY_VOID(reference.check(spec.router, spec.n_layers));
    for (const Policy& policy : policies) GS_TRY_VOID(policy.check(spec.router, spec.n_layers));
    try {
        return Scorer(decoder, ids, reference, policies, options, progress, cancel).run();
    } catch (const std::bad_alloc&) {
        return Error{ErrorKind::kRun, "out_of_memory", "There is not enough memory to score the text",
                     fmt::format("{} tokens of {} logits each are kept for the reference", options.window, spec.n_vocab), "Use a smaller window"};
    }
}

std::vector<Policy> sweep_policies(const Policy& base, int n_experts) {
    std::vector<Policy> policies;
    for (int k = 1; k <= n_experts; ++k) {
        policies.push_back(base);
        policies.back().rule = GateRule::kTopK;
        policies.back().k = k;
    }
    return policies;
}

}  // namespace gs
