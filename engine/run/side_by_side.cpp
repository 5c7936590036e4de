#include "engine/run/side_by_side.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/run/evaluate_window.h"
#include "engine/run/generator.h"

namespace gs {
namespace {

constexpr double kAnswerShare = 0.7;             // of one model's work; the rest is its text

std::vector<int32_t> scored_ids(const Model& model, const std::string& text, int max_tokens) {
    std::vector<int32_t> ids = model.tokenizer->encode(text, SpecialTokens::kAsText);
    model.tokenizer->add_bos(ids);
    if (max_tokens > 0 && ids.size() > static_cast<size_t>(max_tokens)) ids.resize(static_cast<size_t>(max_tokens));
    return ids;
}

/// Fills in one side as it goes; report(share) with 0..1 of this model's work.
class Side {
public:
    Side(Decoder& decoder, const SideRequest& request, const Policy& policy, SideModel& out, std::function<void(double)> report, const CancelFlag* cancel)
        : m_decoder(decoder), m_request(request), m_policy(policy), m_out(out), m_report(std::move(report)), m_cancel(cancel) {}

    Result<void> run() {
        m_out.card = make_model_card(m_decoder);
        GS_TRY_VOID(answer());
        if (!m_request.text.empty()) GS_TRY_VOID(score());
        m_report(1);
        return {};
    }

private:
    Result<void> answer() {
        RunRequest run = m_request.run;
        run.policy = m_policy;
        GS_TRY(const std::unique_ptr<Generator> generator, Generator::start(m_decoder, run, 0));
        while (!generator->done()) {
            GS_TRY_VOID(generator->step(m_cancel));
            take(generator->result());
            m_report(kAnswerShare * m_out.timings.decode_tokens / std::max(run.max_new_tokens, 1));
        }
        take(generator->result());
        return {};
    }
    void take(const RunResult& run) {
        m_out.answer = run.text;
        m_out.timings = run.timings;
        m_out.n_prompt_tokens = run.n_prompt_tokens;
        m_out.bytes_per_token = run.bytes_per_token;
    }
    /// In windows as long as the context, each from an empty cache.
    Result<void> score() {
        const std::vector<int32_t> ids = scored_ids(m_decoder.model(), m_request.text, m_request.max_tokens);
        if (ids.size() < 2) return text_too_short(ids.size());
        m_decoder.set_policy(m_policy);
        m_decoder.set_sink(nullptr);
        const int n = static_cast<int>(ids.size()), window = std::min(m_decoder.n_ctx(), 512);
        RunningMean nll;
        double n_bytes = 0;
        for (int at = 0; at < n;) {
            const int size = std::min({kPassTokens, n - at, window - at % window});
            m_decoder.set_logit_function([&](int row, std::span<const float> logits) {
                const int next = at + row + 1;
                if (next >= n) return;
                nll.add(-LogProbs(logits).of(static_cast<size_t>(ids[static_cast<size_t>(next)])));
                n_bytes += static_cast<double>(m_decoder.model().tokenizer->piece(ids[static_cast<size_t>(next)], true).size());
                ++m_out.n_scored;
            });
            const Result<void> done = m_decoder.forward(std::span(ids).subspan(static_cast<size_t>(at), static_cast<size_t>(size)), at % window, LogitRows::kAll, m_cancel);
            m_decoder.set_logit_function(nullptr);
            GS_TRY_VOID(done);
            at += size;
            m_out.perplexity = std::exp(nll.mean);
            m_out.bits_per_byte = n_bytes > 0 ? nll.mean * static_cast<double>(nll.n) / std::numbers::ln2 / n_bytes : 0;
            m_report(kAnswerShare + (1 - kAnswerShare) * at / n);
        }
        return {};
    }

    Decoder& m_decoder;
    const SideRequest& m_request;
    const Policy& m_policy;
    SideModel& m_out;
    std::function<void(double)> m_report;
    const CancelFlag* m_cancel;
};

}  // namespace

std::string compare_tokenizers(const Model& a, const Model& b, const std::string& sample) {
    const Tokenizer &ta = *a.tokenizer, &tb = *b.tokenizer;
    if (ta.n_tokens() != tb.n_tokens()) return fmt::format("vocabularies of {} and {} tokens", ta.n_tokens(), tb.n_tokens());
    int n_different = 0;
    for (int id = 0; id < ta.n_tokens(); ++id) n_different += ta.piece(id, true) != tb.piece(id, true);
    if (n_different > 0) return fmt::format("{} of {} tokens of the vocabularies differ", n_different, ta.n_tokens());
    if (ta.encode(sample, SpecialTokens::kAsText) != tb.encode(sample, SpecialTokens::kAsText)) return "the same vocabulary, but they cut this text differently";
    return "";
}

Result<SideBySide> run_side_by_side(Decoder& a, Decoder& b, const SideRequest& request, const SideProgress& progress, const CancelFlag* cancel) {
    SideBySide out{.prompt = request.run.prompt, .text_name = request.text_name, .sampler = request.run.sampler.to_text()};
    out.tokens_note = compare_tokenizers(a.model(), b.model(), request.run.prompt + "\n" + request.text);
    out.same_tokens = out.tokens_note.empty();
    const auto report = [&](double fraction) {
        if (progress) progress(out, fraction);
    };
    GS_TRY_VOID(Side(a, request, request.run.policy, out.a, [&](double share) { report(share / 2); }, cancel).run());
    const Policy native;
    GS_TRY_VOID(Side(b, request, native, out.b, [&](double share) { report(0.5 + share / 2); }, cancel).run());
    out.complete = true;
    report(1);
    return out;
}

}  // namespace gs
