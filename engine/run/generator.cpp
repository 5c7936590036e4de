#include "engine/run/generator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/decode/chat_template.h"
#include "engine/routing/batch_routing.h"
#include "engine/run/prompt.h"

namespace gs {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Tokens per prefill call. Cancel is polled between layers, so a layer of a batch must stay short on a large model; fixed by the model and
/// not by a clock, because another cut rounds differently and a run must repeat exactly.
int prefill_batch(const Model& model) {
    constexpr double kFlopsPerLayer = 4e9;   // some 40 ms at 100 GFLOP/s
    const double per_token = 2.0 * static_cast<double>(model.active_params) / std::max(model.spec.n_layers, 1);
    return static_cast<int>(std::clamp(kFlopsPerLayer / std::max(per_token, 1.0), 64.0, 512.0));
}

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

}  // namespace

struct Generator::Impl final : RouteSink {
    Decoder& decoder;
    bool capture;
    Sampler sampler;
    TraceWriter writer;
    RunResult run;                       ///< all but the trace
    Policy policy;
    std::vector<int32_t> ids;            ///< prompt, then what was generated
    int n_done = 0;                      ///< of ids: in the cache and in the trace
    int batch = 0;
    bool paused = false;
    std::vector<float> last_logits;      ///< after the newest token
    std::vector<TokenStats> scores;      ///< of each row of the batch being run
    TokenStats carried{kNone, kNone};    ///< of the first token of the next batch
    bool has_pending = false;            ///< a token sampled, whose step was cancelled
    int32_t pending = 0;
    uint64_t n_assigned = 0, n_rows = 0; ///< experts used and (token, layer) pairs of the phase

    Impl(Decoder& d, const RunRequest& request, bool with_trace, TraceInfo info)
        : decoder(d), capture(with_trace), sampler(request.sampler), writer(std::move(info)), policy(request.policy) {
        run.request = request;
        run.phase = RunPhase::kPrefill;
        batch = prefill_batch(d.model());
    }

    const Tokenizer& tokenizer() const { return *decoder.model().tokenizer; }
    bool prefilling() const { return n_done < run.n_prompt_tokens; }
    void on_route(int moe_layer, int first_row, int n_rows_now, std::span<const float> logits, std::span<const int32_t> chosen,
                  std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) override;
    void open_rows(std::span<const int32_t> tokens, Phase phase);
    Result<void> compute(std::span<const int32_t> tokens, Phase phase, const CancelFlag* cancel);
    Result<void> prefill(const CancelFlag* cancel);
    Result<void> decode(const CancelFlag* cancel);
    void finish(StopReason reason) {
        if (run.stop == StopReason::kNone) run.stop = reason;
    }
};

void Generator::Impl::on_route(int moe_layer, int first_row, int n_rows_now, std::span<const float> logits, std::span<const int32_t> chosen,
                               std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) {
    const size_t n_experts = logits.size() / static_cast<size_t>(n_rows_now);
    for (int r = 0; r < n_rows_now; ++r) {
        const auto row = static_cast<size_t>(r), k = static_cast<size_t>(n_used[row]), at = row * static_cast<size_t>(k_stride);
        n_assigned += k;
        ++n_rows;
        if (capture) writer.set_route(moe_layer, first_row + r, logits.subspan(row * n_experts, n_experts), chosen.subspan(at, k), weights.subspan(at, k));
    }
}

void Generator::Impl::open_rows(std::span<const int32_t> tokens, Phase phase) {
    std::vector<TokenRow> rows(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
        const TokenKind kind = tokenizer().kind(tokens[i]);
        rows[i] = {.id = tokens[i], .phase = phase, .special = kind == TokenKind::kControl, .text = tokenizer().piece(tokens[i], true)};
    }
    writer.begin_tokens(rows, policy);
}

/// Runs tokens at the end of the cache and publishes their rows; after an error the run is as it was before.
Result<void> Generator::Impl::compute(std::span<const int32_t> tokens, Phase phase, const CancelFlag* cancel) {
    const int n = static_cast<int>(tokens.size());
    if (capture) open_rows(tokens, phase);
    scores.assign(tokens.size(), {kNone, kNone});
    scores[0] = carried;
    TokenStats next{kNone, kNone};
    decoder.set_policy(policy, run.n_prompt_tokens);
    decoder.set_sink(this);
    decoder.set_drawn_run(capture ? run.id : 0);
    // The last row's logits are sampled from; of the others only what they say of the next token is of use.
    const auto following = static_cast<size_t>(n_done + n);
    decoder.set_score_function(tokens.subspan(1), [&](int row, const TokenStats& stats) { scores[static_cast<size_t>(row) + 1] = stats; });
    decoder.set_logit_function([&](int, std::span<const float> logits) {
        if (following < ids.size()) next = token_stats(logits, ids[following]);
        last_logits.assign(logits.begin(), logits.end());
    });
    // Every row's logits give the next token's probability; a run without a trace needs the last one's only.
    const Result<void> result = decoder.forward(tokens, n_done, capture ? LogitRows::kAll : LogitRows::kLast, cancel);
    decoder.set_sink(nullptr);
    decoder.set_drawn_run(0);
    decoder.set_logit_function(nullptr);
    decoder.set_score_function({}, nullptr);
    if (!result && result.error().code != "nonfinite_weights") {
        writer.abandon();
        return result;
    }
    if (capture) {
        for (size_t i = 0; i < scores.size(); ++i)
            writer.set_scores(static_cast<int>(i), static_cast<float>(scores[i].logprob), static_cast<float>(scores[i].entropy));
        writer.publish();
    } else {
        const std::span<const float> logits = decoder.logits(0);
        last_logits.assign(logits.begin(), logits.end());
    }
    carried = next;
    n_done += n;
    return result;
}

Result<void> Generator::Impl::prefill(const CancelFlag* cancel) {
    const auto start = Clock::now();
    // Experts that choose their tokens need the whole block of them.
    const int most = policy.is_by_batch() ? kExpertChoiceBlock - n_done % kExpertChoiceBlock : batch;
    const int n = std::min(most, run.n_prompt_tokens - n_done);
    GS_TRY_VOID(compute(std::span<const int32_t>(ids).subspan(static_cast<size_t>(n_done), static_cast<size_t>(n)), Phase::kPrefill, cancel));
    run.timings.prefill_tokens += n;
    run.timings.prefill_seconds += seconds_since(start);
    if (prefilling()) return {};
    run.phase = RunPhase::kDecoding;
    if (run.request.max_new_tokens <= 0) finish(StopReason::kLength);
    return {};
}

Result<void> Generator::Impl::decode(const CancelFlag* cancel) {
    const auto start = Clock::now();
    if (n_done >= decoder.n_ctx()) {
        finish(StopReason::kContextFull);
        return {};
    }
    // A step that was cancelled half-way goes on with the token it had drawn, so that the run is the same as without.
    // The penalty counts generated tokens only: punishing the prompt's words makes the model misspell what it was asked about.
    if (!has_pending) pending = sampler.sample(last_logits, std::span(ids).subspan(static_cast<size_t>(run.n_prompt_tokens)));
    has_pending = true;
    if (tokenizer().is_end(pending)) {
        finish(StopReason::kEndOfText);
        return {};
    }
    if (run.timings.decode_tokens == 0) n_assigned = n_rows = 0;
    carried = token_stats(last_logits, pending);
    const int32_t id = pending;
    ids.push_back(id);
    const Result<void> computed = compute({&id, 1}, Phase::kDecode, cancel);
    if (!computed && computed.error().code != "nonfinite_weights") {
        ids.pop_back();
        return computed;
    }
    has_pending = false;
    run.text += tokenizer().piece(id, false);
    run.timings.decode_seconds += seconds_since(start);
    if (++run.timings.decode_tokens >= run.request.max_new_tokens) finish(StopReason::kLength);
    return computed;
}

Result<std::unique_ptr<Generator>> Generator::start(Decoder& decoder, const RunRequest& request, uint64_t run_id, bool capture) {
    const Model& model = decoder.model();
    GS_TRY_VOID(request.policy.check(model.spec.router, model.spec.n_layers));
    GS_TRY(PromptTokens prompt, tokenize_prompt(model, request, decoder.n_ctx()));
    auto impl = std::make_unique<Impl>(decoder, request, capture, make_trace_info(decoder, request, prompt.template_name));
    impl->ids = std::move(prompt.ids);
    impl->run.id = run_id;
    impl->run.n_prompt_tokens = static_cast<int>(impl->ids.size());
    return std::unique_ptr<Generator>(new Generator(std::move(impl)));
}

Generator::Generator(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Generator::~Generator() = default;

Result<void> Generator::step(const CancelFlag* cancel) {
    if (done()) return {};
    Result<void> result = m_impl->prefilling() ? m_impl->prefill(cancel) : m_impl->decode(cancel);
    if (!result && result.error().kind != ErrorKind::kCancelled) m_impl->finish(StopReason::kFailed);
    return result;
}

bool Generator::done() const { return m_impl->run.stop != StopReason::kNone; }

Result<void> Generator::set_policy(const Policy& policy) {
    const ModelSpec& spec = m_impl->decoder.model().spec;
    GS_TRY_VOID(policy.check(spec.router, spec.n_layers));
    m_impl->policy = policy;
    return {};
}

void Generator::stop(StopReason reason) { m_impl->finish(reason); }
void Generator::set_paused(bool paused) { m_impl->paused = paused; }
int Generator::cached_tokens() const { return m_impl->n_done; }

RunResult Generator::result() const {
    RunResult run = m_impl->run;
    if (m_impl->capture) run.trace = m_impl->writer.snapshot();
    if (done())
        run.phase = RunPhase::kFinished;
    else if (m_impl->paused)
        run.phase = RunPhase::kPaused;
    const Model& model = m_impl->decoder.model();
    const double mean_experts = m_impl->n_rows > 0 ? static_cast<double>(m_impl->n_assigned) / static_cast<double>(m_impl->n_rows) : 0;
    run.bytes_per_token = static_cast<double>(model.dense_bytes_per_token) +
                          mean_experts * static_cast<double>(model.spec.moe_layers.size()) * static_cast<double>(model.expert_bytes);
    return run;
}

namespace {

/// [M][E]; empty when no layer has one. A layer without one among others has zeros, which change nothing.
std::vector<std::vector<float>> selection_biases(const Model& model) {
    std::vector<std::vector<float>> biases;
    bool any = false;
    for (const int layer : model.spec.moe_layers) {
        biases.push_back(model.weights.layers[static_cast<size_t>(layer)].selection_bias);
        any = any || !biases.back().empty();
        biases.back().resize(static_cast<size_t>(model.spec.router.n_experts));
    }
    return any ? biases : std::vector<std::vector<float>>{};
}

}  // namespace

TraceInfo make_trace_info(const Decoder& decoder, const RunRequest& request, const std::string& template_name) {
    const Model& model = decoder.model();
    TraceInfo info;
    info.model_name = model.spec.name;
    info.model_file = model.path.filename().string();
    info.model_hash = model.hash;
    info.architecture = model.spec.architecture;
    info.family = model.spec.family;
    info.reading = name_of(model.spec.reading);
    info.engine = decoder.engine();
    info.precision = decoder.precision() == Precision::kExact ? "exact" : "fast";
    info.prompt = request.prompt;
    info.template_name = template_name;
    info.sampler = request.sampler.to_text();
    info.router = model.spec.router;
    info.n_layers = model.spec.n_layers;
    info.moe_layers = model.spec.moe_layers;
    info.selection_bias = selection_biases(model);
    info.has_shared_expert = std::any_of(model.weights.layers.begin(), model.weights.layers.end(), [](const LayerWeights& w) { return static_cast<bool>(w.shared); });
    info.dense_bytes_per_token = model.dense_bytes_per_token;
    info.expert_bytes = model.expert_bytes;
    return info;
}

ModelCard make_model_card(const Decoder& decoder) {
    const Model& model = decoder.model();
    ModelCard card;
    card.spec = model.spec;
    card.path = model.path.string();
    card.hash = model.hash;
    card.chat_format = detect_chat_format(model.chat_template).name;
    card.file_bytes = model.file_bytes;
    card.kv_bytes = decoder.kv_bytes();
    card.work_bytes = decoder.work_bytes();
    card.total_params = model.total_params;
    card.active_params = model.active_params;
    card.lookup_params = model.lookup_params;
    card.weight_bytes = model.weight_bytes;
    card.dense_bytes_per_token = model.dense_bytes_per_token;
    card.expert_bytes = model.expert_bytes;
    card.n_ctx = decoder.n_ctx();
    card.warnings = model.warnings;
    card.engine = decoder.engine();
    card.drawing = decoder.drawing();
    card.precision = decoder.precision() == Precision::kExact ? "exact" : "fast";
    return card;
}

}  // namespace gs
