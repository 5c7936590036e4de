#include "engine/run/expert_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/check.h"
#include "engine/run/evaluate_window.h"
#include "engine/run/generator.h"

namespace gs {
namespace {

constexpr int kPartialShuffles = 40;         // while more texts come, a rough null is enough

double norm_of(std::span<const float> v) {
    double sum = 0;
    for (const float x : v) sum += static_cast<double>(x) * static_cast<double>(x);
    return std::sqrt(sum);
}

/// Outputs of all slots of a trace, per MoE layer in the order of tokens and slots, as they come from the decoder.
class OutputCollector {
public:
    explicit OutputCollector(const ModelSpec& spec) : m_width(static_cast<size_t>(spec.n_embd)), m_weigh_input(spec.router.weigh_input), m_layers(spec.moe_layers.size()) {}

    void add(const ExpertOutputs& batch) {
        std::vector<double> sum(m_width), norms, parts;
        const auto k = static_cast<size_t>(batch.k), rows = static_cast<size_t>(batch.n_rows);
        for (size_t t = 0; t < rows; ++t) {
            const auto used = static_cast<size_t>(batch.n_used[t]);
            std::fill(sum.begin(), sum.end(), 0.0);
            norms.clear();
            parts.clear();
            const auto output = [&](size_t j) { return batch.outputs.subspan((j * rows + t) * m_width, m_width); };
            for (size_t j = 0; j < used; ++j) {
                const double factor = m_weigh_input ? 1 : static_cast<double>(batch.weights[t * k + j]);
                const std::span<const float> f = output(j);
                for (size_t i = 0; i < m_width; ++i) sum[i] += factor * static_cast<double>(f[i]);
                norms.push_back(norm_of(f));
                parts.push_back(std::abs(factor) * norms.back());
            }
            finish_token(m_layers[static_cast<size_t>(batch.moe_layer)], sum, norms, parts, output);
        }
    }
    /// The slots of these tokens; begin: [T + 1] slots of all tokens of the trace.
    SlotOutputs of(int moe_layer, std::span<const int> rows, std::span<const uint32_t> begin) const {
        const SlotOutputs& all = m_layers[static_cast<size_t>(moe_layer)];
        SlotOutputs out;
        for (const int row : rows)
            for (size_t slot = begin[static_cast<size_t>(row)]; slot < begin[static_cast<size_t>(row) + 1]; ++slot) {
                out.norm.push_back(all.norm[slot]);
                out.part.push_back(all.part[slot]);
                out.cosine.push_back(all.cosine[slot]);
                out.orthogonal.push_back(all.orthogonal[slot]);
            }
        return out;
    }

private:
    template <class Output>
    static void finish_token(SlotOutputs& out, const std::vector<double>& sum, const std::vector<double>& norms, const std::vector<double>& parts, Output output) {
        double sum_square = 0, part_square = 0;
        for (const double v : sum) sum_square += v * v;
        for (const double p : parts) part_square += p * p;
        for (size_t j = 0; j < norms.size(); ++j) {
            double dot = 0;
            const std::span<const float> f = output(j);
            for (size_t i = 0; i < sum.size(); ++i) dot += sum[i] * static_cast<double>(f[i]);
            const double lengths = norms[j] * std::sqrt(sum_square);
            out.norm.push_back(static_cast<float>(norms[j]));
            out.part.push_back(static_cast<float>(parts[j]));
            out.cosine.push_back(static_cast<float>(lengths > 0 ? std::clamp(dot / lengths, -1.0, 1.0) : 0));
            out.orthogonal.push_back(static_cast<float>(part_square > 0 ? parts[j] / std::sqrt(part_square) : 0));
        }
    }

    size_t m_width;
    bool m_weigh_input;
    std::vector<SlotOutputs> m_layers;       ///< [M], slots of all tokens so far
};

class Study final : RouteSink {
public:
    Study(Decoder& decoder, const StudyRequest& request, std::vector<std::vector<int32_t>> ids, std::vector<int> left_out, const StudyProgress& progress,
          const CancelFlag* cancel)
        : m_decoder(decoder), m_request(request), m_ids(std::move(ids)), m_left_out(std::move(left_out)), m_progress(progress), m_cancel(cancel), m_writer(trace_info(decoder, request)),
          m_outputs(decoder.model().spec) {
        for (const auto& text : m_ids) m_n_all += static_cast<int64_t>(text.size());
        m_decoder.set_policy(request.policy);
        m_decoder.set_sink(this);
        m_decoder.set_expert_function([this](const ExpertOutputs& batch) { m_outputs.add(batch); });
    }
    ~Study() override {
        m_decoder.set_sink(nullptr);
        m_decoder.set_expert_function(nullptr);
    }
    Study(const Study&) = delete;
    Study& operator=(const Study&) = delete;

    Result<std::shared_ptr<const ExpertStudy>> run() {
        std::shared_ptr<const ExpertStudy> study;
        for (size_t i = 0; i < m_ids.size(); ++i) {
            GS_TRY_VOID(run_text(i));
            const bool last = i + 1 == m_ids.size();
            GS_TRY(study, analyse(last));
            if (m_progress) m_progress(study, last ? 1 : kRoutingPart * fraction_routed(), fmt::format("{} of {} texts", i + 1, m_ids.size()));
        }
        return study;
    }

private:
    static constexpr double kRoutingPart = 0.85;   // the rest is the last analysis

    static TraceInfo trace_info(const Decoder& decoder, const StudyRequest& request) {
        TraceInfo info = make_trace_info(decoder, {.prompt = "expert study", .mode = PromptMode::kRaw, .policy = request.policy}, "raw");
        return info;
    }

    double fraction_routed() const { return static_cast<double>(m_writer.n_tokens()) / static_cast<double>(std::max<int64_t>(m_n_all, 1)); }

    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids, std::span<const float> weights,
                  std::span<const int32_t> n_used, int k_stride) override {
        const size_t n_experts = logits.size() / static_cast<size_t>(n_rows);
        for (int r = 0; r < n_rows; ++r) {
            const auto row = static_cast<size_t>(r), k = static_cast<size_t>(n_used[row]), at = row * static_cast<size_t>(k_stride);
            m_writer.set_route(moe_layer, first_row + r, logits.subspan(row * n_experts, n_experts), ids.subspan(at, k), weights.subspan(at, k));
        }
    }

    Result<void> run_text(size_t index) {
        const std::vector<int32_t>& ids = m_ids[index];
        const Tokenizer& tokenizer = *m_decoder.model().tokenizer;
        const int n = static_cast<int>(ids.size()), window = m_decoder.n_ctx();
        m_texts.push_back({.domain = m_request.texts[index].domain, .begin = m_writer.n_tokens(), .n_left_out = m_left_out[index]});
        for (int done = 0; done < n;) {
            const int position = done % window, size = std::min({kPassTokens, n - done, window - position});
            const std::span<const int32_t> part = std::span(ids).subspan(static_cast<size_t>(done), static_cast<size_t>(size));
            std::vector<TokenRow> rows;
            for (const int32_t id : part) {
                constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
                const bool special = tokenizer.kind(id) == TokenKind::kControl;
                rows.push_back({.id = id, .special = special, .logprob = kNone, .entropy = kNone, .text = tokenizer.piece(id, true)});
            }
            m_writer.begin_tokens(rows, m_request.policy);
            const Result<void> ran = m_decoder.forward(part, position, LogitRows::kNone, m_cancel);
            if (!ran) {
                m_writer.abandon();
                return ran;
            }
            m_writer.publish();
            done += size;
            if (m_progress) m_progress(nullptr, kRoutingPart * fraction_routed(), fmt::format("{}: {} of {} tokens", m_texts.back().domain, done, n));
        }
        m_texts.back().end = m_writer.n_tokens();
        return {};
    }

    Result<std::shared_ptr<const ExpertStudy>> analyse(bool last) {
        auto study = std::make_shared<ExpertStudy>();
        study->trace = m_writer.snapshot();
        study->model_hash = m_decoder.model().hash;
        study->policy = m_request.policy;
        study->window = m_decoder.n_ctx();
        study->n_shuffles = last ? m_request.n_shuffles : std::min(kPartialShuffles, m_request.n_shuffles);
        study->texts = m_texts;
        study->n_texts_wanted = static_cast<int>(m_ids.size());
        study->tokens = study_tokens(study->trace, m_texts);
        const StudyShuffles shuffles(study->tokens, study->n_shuffles);
        for (int m = 0; m < study->trace.n_moe_layers(); ++m) {
            if (m_cancel && m_cancel->is_set()) return Error{ErrorKind::kCancelled, "cancelled", "The study was cancelled", "", ""};
            std::vector<uint32_t> begin = {0};
            for (int t = 0; t < study->trace.n_tokens(); ++t) begin.push_back(begin.back() + static_cast<uint32_t>(study->trace.ids(m, t).size()));
            study->layers.push_back(analyse_layer(layer_routes(study->trace, m, study->tokens.rows), m_outputs.of(m, study->tokens.rows, begin), study->tokens, shuffles));
            if (m_progress && last) m_progress(nullptr, kRoutingPart + (1 - kRoutingPart) * (m + 1) / study->trace.n_moe_layers(), "shuffles");
        }
        study->verdict = judge(study->layers, study->trace.info().moe_layers, study->tokens);
        study->complete = last;
        return std::shared_ptr<const ExpertStudy>(std::move(study));
    }

    Decoder& m_decoder;
    const StudyRequest& m_request;
    std::vector<std::vector<int32_t>> m_ids;     ///< of each text
    std::vector<int> m_left_out;
    const StudyProgress& m_progress;
    const CancelFlag* m_cancel;
    TraceWriter m_writer;
    OutputCollector m_outputs;
    std::vector<StudiedText> m_texts;
    int64_t m_n_all = 0;
};

}  // namespace

Result<std::shared_ptr<const ExpertStudy>> study_experts(Decoder& decoder, const StudyRequest& request, const StudyProgress& progress, const CancelFlag* cancel) {
    const Model& model = decoder.model();
    if (!model.spec.is_moe())
        return Error{ErrorKind::kUsage, "dense_model", "There are no experts to study", "this model is dense: it has no routed experts", "Load an MoE model"};
    if (request.texts.empty()) return Error{ErrorKind::kUsage, "no_texts", "There is nothing to study", "no text was given", "Choose a sample or a text of your own"};
    GS_TRY_VOID(request.policy.check(model.spec.router, model.spec.n_layers));
    std::vector<std::vector<int32_t>> ids;
    std::vector<int> left_out;
    for (const StudyText& text : request.texts) {
        std::vector<int32_t> of_text = model.tokenizer->encode(text.text, SpecialTokens::kAsText);
        model.tokenizer->add_bos(of_text);
        const auto most = static_cast<size_t>(std::max(request.max_tokens, 2));
        if (of_text.size() < 2) {
            Error error = text_too_short(of_text.size());
            error.why = fmt::format("the text of \"{}\" has {} tokens", text.domain, of_text.size());
            return error;
        }
        left_out.push_back(of_text.size() > most ? static_cast<int>(of_text.size() - most) : 0);
        of_text.resize(std::min(of_text.size(), most));
        ids.push_back(std::move(of_text));
    }
    return Study(decoder, request, std::move(ids), std::move(left_out), progress, cancel).run();
}

}  // namespace gs
