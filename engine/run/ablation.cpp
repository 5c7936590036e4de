#include "engine/run/ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/run/evaluate_window.h"
#include "engine/run/generator.h"

namespace gs {
namespace {

/// Tokens that use each expert of each MoE layer.
class UseCounter final : public RouteSink {
public:
    UseCounter(size_t n_layers, size_t n_experts) : use(n_layers, std::vector<int64_t>(n_experts, 0)) {}
    void on_route(int moe_layer, int, int n_rows, std::span<const float>, std::span<const int32_t> ids, std::span<const float>,
                  std::span<const int32_t> n_used, int k_stride) override {
        for (int t = 0; t < n_rows; ++t)
            for (int j = 0; j < n_used[static_cast<size_t>(t)]; ++j)
                ++use[static_cast<size_t>(moe_layer)][static_cast<size_t>(ids[static_cast<size_t>(t * k_stride + j)])];
    }
    std::vector<std::vector<int64_t>> use;       ///< [M][E]
};

class Measurement {
public:
    Measurement(Decoder& decoder, std::span<const int32_t> ids, const AblationRequest& request, const EvaluateOptions& options,
                const AblationProgress& progress, const CancelFlag* cancel);
    Result<AblationResult> run();

private:
    Result<void> count_use();
    Result<void> score();
    Result<void> continue_both();
    Result<std::vector<int32_t>> generate(const Policy& policy, std::string& text, double first_fraction);
    void report(double fraction) const {
        if (m_progress) m_progress(m_result, fraction);
    }
    std::vector<int64_t> used_of(const std::vector<AblatedExpert>& experts) const;

    Decoder& m_decoder;
    std::span<const int32_t> m_ids;
    const AblationRequest& m_request;
    EvaluateOptions m_options;
    const AblationProgress& m_progress;
    const CancelFlag* m_cancel;
    UseCounter m_use;
    AblationResult m_result;
    double m_score_share = 1;                    ///< of all work: passes over the text, the rest is continuations
    double m_count_share = 0;
};

Measurement::Measurement(Decoder& decoder, std::span<const int32_t> ids, const AblationRequest& request, const EvaluateOptions& options,
                         const AblationProgress& progress, const CancelFlag* cancel)
    : m_decoder(decoder), m_ids(ids), m_request(request), m_options(options), m_progress(progress), m_cancel(cancel),
      m_use(decoder.model().spec.moe_layers.size(), static_cast<size_t>(decoder.model().spec.router.n_experts)) {
    m_result.base = request.base;
    m_result.policy = with_ablation(request.base, request.experts);
    m_result.experts = request.experts;
    m_result.n_tokens = static_cast<int>(ids.size());
    m_result.model_hash = decoder.model().hash;
    m_result.text_name = request.text_name;
    m_result.seed = request.seed;
    if (!request.continuation.prompt.empty()) m_score_share = 0.8;
    m_count_share = m_score_share / (request.n_controls + 3);
}

std::vector<int64_t> Measurement::used_of(const std::vector<AblatedExpert>& experts) const {
    const std::vector<int>& layers = m_decoder.model().spec.moe_layers;
    std::vector<int64_t> used;
    for (const AblatedExpert& e : experts) {
        const auto m = static_cast<size_t>(std::lower_bound(layers.begin(), layers.end(), e.layer) - layers.begin());
        used.push_back(m_use.use[m][static_cast<size_t>(e.expert)]);
    }
    return used;
}

/// One pass under the base policy: which experts are used as often as the ablated ones has to be known before controls are drawn.
Result<void> Measurement::count_use() {
    m_decoder.set_policy(m_request.base);
    m_decoder.set_sink(&m_use);
    m_decoder.set_logit_function(nullptr);
    const int n = static_cast<int>(m_ids.size()), window = std::min(m_options.window, m_decoder.n_ctx());
    Result<void> done = {};
    for (int first = 0; first < n && done; first += window)
        for (int at = 0; at < std::min(window, n - first) && done; at += kPassTokens) {
            const int size = std::min({kPassTokens, window - at, n - first - at});
            done = m_decoder.forward(m_ids.subspan(static_cast<size_t>(first + at), static_cast<size_t>(size)), at, LogitRows::kNone, m_cancel);
            report(m_count_share * (first + at) / n);
        }
    m_decoder.set_sink(nullptr);
    return done;
}

AblationEffect effect_of(const PolicyScore& score) {
    return {.n_scored = score.n_scored, .kl = score.kl, .delta_logprob = -score.excess_nll, .flip_rate = 1 - score.top1_agreement};
}

Result<void> Measurement::score() {
    const std::vector<int>& layers = m_decoder.model().spec.moe_layers;
    ControlDraw draw = draw_controls(m_use.use, layers, m_request.experts, m_request.n_controls, m_request.seed);
    m_result.note = std::move(draw.note);
    std::vector<Policy> policies = {m_result.policy};
    for (std::vector<AblatedExpert>& set : draw.sets) {
        policies.push_back(with_ablation(m_request.base, set));
        std::vector<int64_t> used = used_of(set);
        m_result.controls.push_back({std::move(set), std::move(used), {}});
    }
    const auto take = [&](const std::vector<PolicyScore>& scores) {
        for (size_t i = 0; i < scores.size(); ++i) (i == 0 ? m_result.effect : m_result.controls[i - 1].effect) = effect_of(scores[i]);
    };
    const auto progress = [&](const std::vector<PolicyScore>& scores, double fraction) {
        take(scores);
        report(m_count_share + fraction * (m_score_share - m_count_share));
    };
    GS_TRY(const std::vector<PolicyScore> scores, score_policies(m_decoder, m_ids, m_request.base, policies, m_options, progress, m_cancel));
    take(scores);
    return {};
}

Result<std::vector<int32_t>> Measurement::generate(const Policy& policy, std::string& text, double first_fraction) {
    RunRequest request = m_request.continuation;
    request.policy = policy;
    GS_TRY(const std::unique_ptr<Generator> generator, Generator::start(m_decoder, request, 0));
    while (!generator->done()) {
        GS_TRY_VOID(generator->step(m_cancel));
        const RunResult now = generator->result();
        text = now.text;
        report(first_fraction + (1 - m_score_share) / 2 * now.timings.decode_tokens / std::max(request.max_new_tokens, 1));
    }
    const RunResult result = generator->result();
    text = result.text;
    std::vector<int32_t> ids;
    for (int t = result.n_prompt_tokens; t < result.trace.n_tokens(); ++t) ids.push_back(result.trace.token(t).id);
    return ids;
}

Result<void> Measurement::continue_both() {
    AblationText& text = m_result.text.emplace();
    text.prompt = m_request.continuation.prompt;
    text.sampler = m_request.continuation.sampler.to_text();
    GS_TRY(const std::vector<int32_t> base, generate(m_request.base, text.base, m_score_share));
    GS_TRY(const std::vector<int32_t> ablated, generate(m_result.policy, text.ablated, (1 + m_score_share) / 2));
    text.n_base = static_cast<int>(base.size());
    text.n_ablated = static_cast<int>(ablated.size());
    const auto [a, b] = std::mismatch(base.begin(), base.end(), ablated.begin(), ablated.end());
    text.first_difference = a == base.end() && b == ablated.end() ? -1 : static_cast<int>(a - base.begin());
    return {};
}

Result<AblationResult> Measurement::run() {
    GS_TRY_VOID(count_use());
    m_result.used = used_of(m_request.experts);
    GS_TRY_VOID(score());
    if (!m_request.continuation.prompt.empty()) GS_TRY_VOID(continue_both());
    m_result.complete = true;
    report(1);
    return m_result;
}

}  // namespace

ControlBand AblationResult::band(double AblationEffect::*what) const {
    ControlBand band;
    double sum = 0, squares = 0;
    for (const AblationControl& c : controls) {
        if (c.effect.n_scored == 0) continue;
        const double value = c.effect.*what;
        band.low = band.n == 0 ? value : std::min(band.low, value);
        band.high = band.n == 0 ? value : std::max(band.high, value);
        sum += value;
        ++band.n;
    }
    if (band.n == 0) return band;
    band.mean = sum / band.n;
    for (const AblationControl& c : controls)
        if (c.effect.n_scored > 0) squares += (c.effect.*what - band.mean) * (c.effect.*what - band.mean);
    band.sd = band.n > 1 ? std::sqrt(squares / (band.n - 1)) : 0;
    return band;
}

int AblationResult::n_measured() const {
    return static_cast<int>(std::count_if(controls.begin(), controls.end(), [](const AblationControl& c) { return c.effect.n_scored > 0; }));
}

int AblationResult::n_as_large() const {
    return static_cast<int>(std::count_if(controls.begin(), controls.end(), [&](const AblationControl& c) { return c.effect.n_scored > 0 && c.effect.kl >= effect.kl; }));
}

Result<AblationResult> measure_ablation(Decoder& decoder, std::span<const int32_t> ids, const AblationRequest& request, const EvaluateOptions& options,
                                        const AblationProgress& progress, const CancelFlag* cancel) {
    const ModelSpec& spec = decoder.model().spec;
    if (!spec.is_moe())
        return Error{ErrorKind::kInput, "dense_model", "There is no expert to ablate", "this model is dense: every token uses all of it", "Load an MoE model"};
    if (ids.size() < 2) return text_too_short(ids.size());
    GS_TRY_VOID(check_ablated(request.experts, spec));
    GS_TRY_VOID(request.base.check(spec.router, spec.n_layers));
    GS_TRY_VOID(with_ablation(request.base, request.experts).check(spec.router, spec.n_layers));
    return Measurement(decoder, ids, request, options, progress, cancel).run();
}

}  // namespace gs
