#include "engine/run/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>
#include <utility>

#include "engine/core/check.h"
#include "engine/routing/batch_routing.h"
#include "engine/run/evaluate_window.h"
#include "engine/run/layer_error.h"
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
    LayerErrorTotals errors;
};

/// What a decoded token costs beside one of a pass, whose tokens share the reading of weights: for progress only.
constexpr int kStepCost = 6;

class Scorer {
public:
    Scorer(Decoder& decoder, std::span<const int32_t> ids, const Policy& reference, std::span<const Policy> policies,
           const EvaluateOptions& options, const ScoreProgress& progress, const CancelFlag* cancel)
        : m_decoder(decoder), m_ids(ids), m_reference(reference), m_options(options), m_progress(progress), m_cancel(cancel),
          m_window(std::min(options.window, decoder.n_ctx())), m_totals(policies.size()),
          m_errors(decoder, options.first_scored, static_cast<int>(ids.size()), options.error_tokens) {
        for (const Policy& policy : policies) m_scores.push_back({.policy = policy});
        for (Totals& t : m_totals) {
            t.overlap.assign(decoder.model().spec.moe_layers.size(), 0.0);
            t.errors.layers.resize(t.overlap.size());
        }
    }
    ~Scorer() {
        m_decoder.set_sink(nullptr);
        m_decoder.set_tap(nullptr);
        m_decoder.set_logit_function(nullptr);
    }
    Scorer(const Scorer&) = delete;
    Scorer& operator=(const Scorer&) = delete;

    Result<std::vector<PolicyScore>> run();

private:
    using OnLogits = std::function<void(int token, std::span<const float> logits)>;
    /// Tokens first..first + n - 1 of the window are through all layers.
    using OnRows = std::function<void(int first, int n)>;
    Result<void> run_window(int first, int size);
    Result<void> run_reference(int first, int size, RouteTally& tally);
    Result<void> pass(const Policy& policy, int first, int size, RouteTally& tally, const OnLogits& on_logits, const OnRows& on_rows);
    Result<void> time_policy(PolicyScore& score);
    void add_routes(Totals& totals, RouteTally& tally, const RouteTally& reference, int first, int begin, int n);
    void listen(int first, int begin, int n);
    void update(PolicyScore& score, const Totals& totals) const;
    void advance(int64_t n);

    Decoder& m_decoder;
    std::span<const int32_t> m_ids;
    const Policy& m_reference;
    const EvaluateOptions& m_options;
    const ScoreProgress& m_progress;
    const CancelFlag* m_cancel;
    int m_window;
    std::vector<PolicyScore> m_scores;
    std::vector<Totals> m_totals;
    LayerErrors m_errors;
    std::vector<float> m_reference_logits;       ///< [window, V]
    std::vector<LogProbs> m_reference_probs;     ///< [window] over those
    int64_t m_done = 0, m_work = 0;              ///< tokens
};

/// Teacher-forced over one window from an empty cache.
Result<void> Scorer::pass(const Policy& policy, int first, int size, RouteTally& tally, const OnLogits& on_logits, const OnRows& on_rows) {
    m_decoder.set_policy(policy, size);
    m_decoder.set_sink(&tally);
    const int pass_tokens = policy.is_by_batch() ? kExpertChoiceBlock : kPassTokens;   // experts that choose tokens need the whole block of them
    for (int done = 0; done < size; done += pass_tokens) {
        const int n = std::min(pass_tokens, size - done);
        tally.set_offset(done);
        m_decoder.set_logit_function([&](int row, std::span<const float> logits) { on_logits(done + row, logits); });
        if (&policy == &m_reference) listen(first, done, n);
        GS_TRY_VOID(m_decoder.forward(m_ids.subspan(static_cast<size_t>(first + done), static_cast<size_t>(n)), done, LogitRows::kAll, m_cancel));
        if (on_rows) on_rows(done, n);
        advance(n);
    }
    return {};
}

/// Taps what routers read in the next n tokens, where layer errors are wanted. A single token runs as a step, and one that is listened to does not: it is
/// left alone, so that the reference stays what the native policy gives to the bit.
void Scorer::listen(int first, int begin, int n) {
    const ModelSpec& spec = m_decoder.model().spec;
    if (m_options.error_tokens <= 0 || n == 1) return m_decoder.set_tap(nullptr);
    m_decoder.set_tap([this, &spec, position = first + begin](Tap what, int layer, int first_row, int, std::span<const float> values) {
        if (what != Tap::kRouterInput) return;
        const auto m = std::find(spec.moe_layers.begin(), spec.moe_layers.end(), layer) - spec.moe_layers.begin();
        m_errors.keep(static_cast<int>(m), position + first_row, values);
    });
}

Result<void> Scorer::run_reference(int first, int size, RouteTally& tally) {
    const auto n_vocab = static_cast<size_t>(m_decoder.model().spec.n_vocab);
    m_reference_logits.resize(static_cast<size_t>(size) * n_vocab);
    const auto row = [&](int token) { return std::span<float>(m_reference_logits).subspan(static_cast<size_t>(token) * n_vocab, n_vocab); };
    m_errors.begin_window();
    GS_TRY_VOID(pass(m_reference, first, size, tally, [&](int token, std::span<const float> logits) { std::copy(logits.begin(), logits.end(), row(token).begin()); }, {}));
    m_decoder.set_tap(nullptr);
    m_reference_probs.clear();
    for (int token = 0; token < size; ++token) m_reference_probs.emplace_back(row(token));
    if (m_options.error_tokens > 0) GS_TRY_VOID(m_errors.run_native(m_cancel));
    return {};
}

Result<void> Scorer::run_window(int first, int size) {
    const int n_layers = static_cast<int>(m_decoder.model().spec.moe_layers.size());
    const auto is_scored = [&](int token) {
        const int position = first + token;
        return position >= m_options.first_scored && position + 1 < static_cast<int>(m_ids.size());
    };
    RouteTally reference(n_layers, size);
    GS_TRY_VOID(run_reference(first, size, reference));
    for (size_t i = 0; i < m_scores.size(); ++i) {
        Totals& totals = m_totals[i];
        RouteTally tally(n_layers, size);
        if (m_options.error_tokens > 0) GS_TRY_VOID(m_errors.run(m_scores[i].policy, totals.errors, m_cancel));
        GS_TRY_VOID(pass(m_scores[i].policy, first, size, tally, [&](int token, std::span<const float> logits) {
            if (is_scored(token)) totals.next.add(m_reference_probs[static_cast<size_t>(token)], logits, m_ids[static_cast<size_t>(first + token) + 1]);
        }, [&](int begin, int n) {
            add_routes(totals, tally, reference, first, begin, n);
            update(m_scores[i], totals);
        }));
    }
    return {};
}

void Scorer::add_routes(Totals& totals, RouteTally& tally, const RouteTally& reference, int first, int begin, int n) {
    totals.sum_weights += std::exchange(tally.sum_weights, 0.0);
    totals.n_assigned += std::exchange(tally.n_assigned, 0);
    totals.n_rows += std::exchange(tally.n_rows, 0);
    for (int token = std::max(begin, m_options.first_scored - first); token < begin + n; ++token) {
        ++totals.n_routed_tokens;
        for (size_t m = 0; m < totals.overlap.size(); ++m)
            totals.overlap[m] += overlap(tally.ids(static_cast<int>(m), token), reference.ids(static_cast<int>(m), token));
    }
}

void Scorer::update(PolicyScore& s, const Totals& t) const {
    const Model& model = m_decoder.model();
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
    s.nll_se = t.next.nll.standard_error();
    s.kl_se = t.next.kl.standard_error();
    s.top1_se = t.next.top1_standard_error();
    s.excess_nll = t.next.excess_nll.mean;
    s.excess_nll_se = t.next.excess_nll.standard_error();
    if (m_options.error_tokens <= 0) return;
    s.layer_error.clear();
    s.layer_error_se.clear();
    s.n_error_tokens = 0;
    if (t.errors.all.n == 0) return;
    for (const RunningMean& error : t.errors.layers) {
        s.layer_error.push_back(error.mean);
        s.layer_error_se.push_back(error.standard_error());
    }
    s.mean_layer_error = t.errors.all.mean;
    s.mean_layer_error_se = t.errors.all.standard_error();
    s.n_error_tokens = static_cast<int>(t.errors.all.n);
}

/// Single-token steps over the cache that the last window left behind; the first two warm up.
Result<void> Scorer::time_policy(PolicyScore& score) {
    constexpr int kWarmUp = 2;
    const int n_tokens = static_cast<int>(m_ids.size());
    const int first = (n_tokens - 1) / m_window * m_window, size = n_tokens - first;
    const int n = std::min(m_options.timed_tokens, m_window - kWarmUp);
    if (n < 1) return {};
    m_decoder.set_policy(score.policy, 1);
    m_decoder.set_sink(nullptr);
    RunningMean seconds;
    for (int i = -kWarmUp; i < n; ++i) {
        const int position = std::clamp(size - n + i, 0, m_window - 1);
        const auto start = std::chrono::steady_clock::now();
        GS_TRY_VOID(m_decoder.forward(m_ids.subspan(static_cast<size_t>(std::min(first + position, n_tokens - 1)), 1), position, LogitRows::kLast, m_cancel));
        if (i >= 0) seconds.add(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    score.tokens_per_s = 1 / seconds.mean;
    score.tokens_per_s_se = seconds.standard_error() / seconds.mean * score.tokens_per_s;
    score.n_timed = n;
    return {};
}

/// Policies that have something to show.
void Scorer::advance(int64_t n) {
    m_done += n;
    if (!m_progress) return;
    std::vector<PolicyScore> started;
    for (const PolicyScore& score : m_scores)
        if (score.n_scored > 0) started.push_back(score);
    m_progress(started, std::min(1.0, static_cast<double>(m_done) / static_cast<double>(std::max<int64_t>(m_work, 1))));
}

Result<std::vector<PolicyScore>> Scorer::run() {
    const int n_tokens = static_cast<int>(m_ids.size());
    const int64_t step_work = static_cast<int64_t>(kStepCost) * std::max(m_options.timed_tokens, 0);
    m_work = static_cast<int64_t>(n_tokens) * static_cast<int64_t>(m_scores.size() + 1) + step_work * static_cast<int64_t>(m_scores.size());
    for (int first = 0; first < n_tokens; first += m_window) GS_TRY_VOID(run_window(first, std::min(m_window, n_tokens - first)));
    for (PolicyScore& score : m_scores) {
        if (m_options.timed_tokens <= 0) break;
        GS_TRY_VOID(time_policy(score));
        advance(step_work);
    }
    return m_scores;
}

}  // namespace

Result<std::vector<PolicyScore>> score_policies(Decoder& decoder, std::span<const int32_t> ids, const Policy& reference,
                                                std::span<const Policy> policies, const EvaluateOptions& options, const ScoreProgress& progress,
                                                const CancelFlag* cancel) {
    GS_CHECK(options.window >= 1, "a window holds at least one token");
    GS_CHECK(options.error_tokens <= 0 || reference.is_native(), "layer errors are against native routing");
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

}  // namespace gs
