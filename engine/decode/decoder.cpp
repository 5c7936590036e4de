#include "engine/decode/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/check.h"
#include "engine/decode/decoder_state.h"

namespace gs {

Result<std::unique_ptr<Decoder>> Decoder::create(std::shared_ptr<const Model> model, std::shared_ptr<Ops> ops, const DecoderOptions& options) {
    const int n_layers = model->spec.n_layers;
    return create(std::move(model), std::vector<StageEngine>{{std::move(ops), 0, n_layers}}, options);
}

Result<std::unique_ptr<Decoder>> Decoder::create(std::shared_ptr<const Model> model, const std::vector<StageEngine>& engines,
                                                 const DecoderOptions& options) {
    auto impl = std::make_unique<Impl>();
    DecoderShared& shared = impl->shared;
    shared.model = std::move(model);
    shared.n_ctx = options.n_ctx > 0 ? options.n_ctx : shared.model->n_ctx;
    GS_CHECK(shared.n_ctx > 0 && options.max_batch > 0, "context and batch must be positive");
    shared.max_batch = std::min(options.max_batch, shared.n_ctx);
    shared.begin = options.begin;
    int n_layers = 0;
    for (const StageEngine& engine : engines) {
        GS_CHECK(engine.ops && engine.first_layer == n_layers && engine.end_layer > n_layers, "stages must follow one another");
        n_layers = engine.end_layer;
        GS_TRY(auto stage, DecoderStage::create(shared, engine));
        impl->stages.push_back(std::move(stage));
    }
    GS_CHECK(n_layers == impl->spec().n_layers, "stages must hold all layers");
    GS_TRY_VOID(impl->adopt_weights(options.on_weights));
    auto decoder = std::unique_ptr<Decoder>(new Decoder(std::move(impl)));
    decoder->set_policy(Policy{});
    GS_TRY_VOID(decoder->check());
    return decoder;
}

Decoder::Decoder(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Decoder::~Decoder() = default;

/// A back end's weights all at once, for it may keep those of the last call only.
Result<void> Decoder::Impl::adopt_weights(const AdoptProgress& progress) {
    const ModelWeights& weights = shared.model->weights;
    CancelFlag cancel;
    const AdoptProgress watched = [&](uint64_t done, uint64_t total) {
        if (progress && !progress(done, total)) cancel.set();
        return !cancel.is_set();
    };
    for (Ops* ops : back_ends()) {
        std::vector<Weight> matrices, others;
        for (const auto& s : stages) {
            if (s->ops.get() != ops) continue;
            for (const Weight& w : weights.matrices(s->first_layer, s->end_layer)) matrices.push_back(w);
            for (const Weight& w : weights.others(s->first_layer, s->end_layer)) others.push_back(w);
        }
        for (const std::span<const std::byte> original : ops->adopt(matrices, others, shared.model, watched)) shared.model->forget(original);
        GS_TRY_VOID(poll(&cancel));
    }
    return {};
}

size_t Decoder::Impl::stage_index(int layer) const {
    const auto found = std::find_if(stages.begin(), stages.end(), [layer](const auto& stage) { return layer < stage->end_layer; });
    GS_CHECK(found != stages.end(), "no such layer");
    return static_cast<size_t>(found - stages.begin());
}

/// Longrope: by the context configured, or in the authors' reading by the tokens there are (sections 3.3 and 5). A sequence that grows beyond
/// the original context keeps the keys that it has, as transformers' cache does: to turn them anew would not give what a run of all its tokens
/// gives either, because what deeper layers read has changed with them. Whoever wants that run starts it from the first token.
void Decoder::Impl::choose_divisors(int end_position) {
    const int reach = spec().reading == Reading::kLlamaCpp ? shared.n_ctx : end_position;
    shared.long_context = shared.model->weights.rope_freqs_long && reach > spec().rope.original_context;
}

bool Decoder::Impl::is_by_batch() const {
    return std::any_of(stages.begin(), stages.end(), [](const auto& stage) { return stage->is_by_batch(); });
}

void Decoder::set_policy(const Policy& policy, int n_prompt) {
    const ModelSpec& s = m_impl->spec();
    m_impl->n_prompt = n_prompt;
    if (!s.is_moe()) return;
    const std::vector<LayerPolicy> policies = resolve(policy, s.router, s.n_layers);
    for (const auto& stage : m_impl->stages) stage->set_policies(policies);
}
void Decoder::set_sink(RouteSink* sink) { m_impl->sink = sink; }
void Decoder::set_tap(TapFunction tap) { m_impl->shared.tap = std::move(tap); }
void Decoder::set_expert_function(ExpertFunction function) { m_impl->shared.on_experts = std::move(function); }
void Decoder::set_logit_function(LogitFunction function) { m_impl->on_logits = std::move(function); }
void Decoder::set_score_function(std::span<const int32_t> next_ids, ScoreFunction function) {
    m_impl->next_ids = next_ids;
    m_impl->on_score = std::move(function);
}

Result<void> Decoder::forward(std::span<const int32_t> ids, int first_position, LogitRows rows, const CancelFlag* cancel) {
    for (const int32_t id : ids) GS_CHECK(id >= 0 && id < m_impl->spec().n_vocab, "token id outside the vocabulary");
    return m_impl->pass({.ids = ids}, static_cast<int>(ids.size()), first_position, rows, cancel);
}

Result<void> Decoder::forward_from(int first_layer, std::span<const float> hidden, int first_position, LogitRows rows, const CancelFlag* cancel) {
    const ModelSpec& s = m_impl->spec();
    const auto width = static_cast<size_t>(s.n_embd);
    GS_CHECK(first_layer >= 0 && first_layer < s.n_layers && hidden.size() % width == 0, "hidden states are whole rows that enter a layer");
    return m_impl->pass({.layer = first_layer, .hidden = hidden}, static_cast<int>(hidden.size() / width), first_position, rows, cancel);
}

Result<void> Decoder::Impl::pass(const Start& from, int n, int first_position, LogitRows rows, const CancelFlag* cancel) {
    GS_CHECK(n > 0 && first_position >= 0, "a forward pass needs tokens and a position");
    if (n > shared.n_ctx - first_position)
        return Error{ErrorKind::kRun, "context_full", "The context is full",
                     fmt::format("{} tokens from position {} do not fit into {} positions", n, first_position, shared.n_ctx),
                     "Ask for a longer context, or give a shorter prompt"};
    nonfinite_logit = false;
    for (const auto& stage : stages) stage->clear_nonfinite();
    choose_divisors(first_position + n);
    shared.n_prompt = n_prompt > 0 ? n_prompt : first_position + n;
    const bool by_batch = is_by_batch();
    const bool keep = rows != LogitRows::kNone && !(rows == LogitRows::kAll && on_logits);
    n_logit_rows = !keep ? 0 : rows == LogitRows::kLast ? 1 : n;
    logits.resize(static_cast<size_t>(n_logit_rows) * static_cast<size_t>(spec().n_vocab));
    for (int start = 0; start < n; start += shared.max_batch) {
        const int size = std::min(shared.max_batch, n - start);
        const Start batch = from.part(start, size, spec().n_embd);
        const bool is_step = size == 1 && from.hidden.empty() && !shared.tap && !shared.on_experts && !by_batch;
        const bool has_logits = rows == LogitRows::kAll || (rows == LogitRows::kLast && start + size == n);
        if (is_step) GS_TRY_VOID(run_step(batch.ids, first_position + start, has_logits, cancel));
        else GS_TRY_VOID(run_layers(batch, size, first_position + start, start, spec().n_layers, cancel));
        stages.back()->ask_for_routing(size, first_position + start, sink != nullptr);
        GS_TRY_VOID(poll(cancel));
        const int logit_row = rows == LogitRows::kAll ? start : 0;
        if (is_step && has_logits) take_logits(1, start, logit_row);
        else if (rows == LogitRows::kAll) GS_TRY_VOID(all_rows(size, start, logit_row, cancel));
        else if (has_logits) GS_TRY_VOID(head_block(size - 1, 1, n - 1, logit_row, cancel));
        if (!sink) continue;
        for (size_t i = stage_index(from.layer); i < stages.size(); ++i) GS_TRY_VOID(stages[i]->hand_over_routing(*sink, from.layer, size, start));
    }
    return check_results();
}

Result<void> Decoder::Impl::check_results() {
    bool nonfinite = nonfinite_logit;
    for (const auto& stage : stages) {
        nonfinite = stage->found_nonfinite() || nonfinite;
        GS_TRY_VOID(stage->ops->check());
    }
    if (nonfinite)
        return Error{ErrorKind::kRun, "nonfinite_weights", "The model computes values that are not finite",
                     "NaN or infinity turned up in its router or its output", "The file is damaged or was converted wrongly: try another copy"};
    return {};
}

std::span<const float> Decoder::logits(int row) const {
    GS_CHECK(row >= 0 && row < m_impl->n_logit_rows, "no such row of logits was asked for");
    const auto n = static_cast<size_t>(m_impl->spec().n_vocab);
    return std::span<const float>(m_impl->logits).subspan(static_cast<size_t>(row) * n, n);
}

Decoder::Impl::Start Decoder::Impl::Start::part(int first, int n, int width) const {
    const auto begin = static_cast<size_t>(first), size = static_cast<size_t>(n), columns = static_cast<size_t>(width);
    if (hidden.empty()) return {.layer = layer, .ids = ids.subspan(begin, size)};
    return {.layer = layer, .hidden = hidden.subspan(begin * columns, size * columns)};
}

Result<void> Decoder::Impl::run_layers(const Start& from, int n, int position, int first_row, int end_layer, const CancelFlag* cancel) {
    const size_t first = stage_index(from.layer);
    if (from.hidden.empty()) stages[first]->embed(from.ids);
    else stages[first]->ops->write(from.hidden.data(), stages[first]->x.data(), from.hidden.size());
    for (size_t i = first; i < stages.size() && stages[i]->first_layer <= end_layer; ++i) {
        if (i > first) pass_on(i, n, position);
        GS_TRY_VOID(stages[i]->run_layers(from.layer, end_layer, n, position, first_row, cancel));
    }
    return {};
}

void Decoder::Impl::pass_on(size_t stage, int n_rows, int position) {
    stages[stage - 1]->ask_for_routing(n_rows, position, sink != nullptr);
    stages[stage]->take_hidden(*stages[stage - 1], n_rows);
}

Result<void> Decoder::Impl::run_step(std::span<const int32_t> id, int position, bool with_head, const CancelFlag* cancel) {
    for (size_t i = 0; i < stages.size(); ++i) {
        if (i > 0) pass_on(i, 1, position);
        GS_TRY_VOID(stages[i]->run_step(id, position, with_head, cancel));
    }
    return {};
}

void Decoder::Impl::take_logits(int n_rows, int first_row, int logit_row) {
    const auto n_vocab = static_cast<size_t>(spec().n_vocab);
    Readback& head = *stages.back()->head;
    head.begin(static_cast<size_t>(n_rows) * n_vocab);
    const std::span<const float> rows = head.end();   // one wait for all of them
    const bool hand_over = n_logit_rows == 0;
    if (hand_over) logits.resize(n_vocab);
    for (int r = 0; r < n_rows; ++r) {
        const size_t at = hand_over ? 0 : static_cast<size_t>(logit_row + r) * n_vocab;
        const std::span<float> row = std::span<float>(logits).subspan(at, n_vocab);
        std::copy_n(rows.data() + static_cast<size_t>(r) * n_vocab, n_vocab, row.data());
        if (spec().logit_divisor != 1)
            for (float& value : row) value /= spec().logit_divisor;
        if (spec().logit_cap != 0)
            for (float& value : row) value = spec().logit_cap * std::tanh(value / spec().logit_cap);
        // Adding up x - x is 0 for finite values and NaN otherwise: one pass without a branch.
        float check = 0;
        for (const float value : row) check += value - value;
        if (check != 0) nonfinite_logit = true;
        if (!hand_over) continue;
        const auto at_row = static_cast<size_t>(first_row + r);
        if (on_score && at_row < next_ids.size()) on_score(first_row + r, token_stats(row, next_ids[at_row]));
        else on_logits(first_row + r, row);
    }
}

Result<void> Decoder::Impl::head_block(int from, int n_rows, int first_row, int logit_row, const CancelFlag* cancel) {
    for (int done = 0; done < n_rows; done += DecoderStage::kHeadRows) {
        GS_TRY_VOID(poll(cancel));   // a batch's head takes as long as all of its layers
        const int n = std::min(DecoderStage::kHeadRows, n_rows - done);
        stages.back()->run_head(from + done, n, first_row + done);
        take_logits(n, first_row + done, logit_row + done);
    }
    return {};
}

Result<void> Decoder::Impl::all_rows(int n_rows, int first_row, int logit_row, const CancelFlag* cancel) {
    int n_scored = 0;
    if (on_score && on_logits && stages.back()->ops->scores_rows()) {
        n_scored = std::clamp(static_cast<int>(next_ids.size()) - first_row, 0, n_rows);
        GS_TRY(const bool scored, score_block(n_scored, first_row, cancel));
        if (!scored) n_scored = 0;
    }
    return n_scored < n_rows ? head_block(n_scored, n_rows - n_scored, first_row + n_scored, logit_row + n_scored, cancel) : Result<void>();
}

Result<bool> Decoder::Impl::score_block(int n_rows, int first_row, const CancelFlag* cancel) {
    constexpr size_t kValues = 3;
    DecoderStage& stage = *stages.back();
    if (n_rows <= 0) return true;
    if (!stage.scores) stage.scores = stage.ops->make_readback(kValues * static_cast<size_t>(shared.max_batch));
    if (!stage.scores) return false;
    const int n_vocab = spec().n_vocab;
    for (int done = 0; done < n_rows; done += DecoderStage::kHeadRows) {
        GS_TRY_VOID(poll(cancel));
        const int n = std::min(DecoderStage::kHeadRows, n_rows - done);
        stage.run_head(done, n, first_row + done);
        stage.ops->score({.logits = {stage.head->data(), n, n_vocab, n_vocab}, .ids = next_ids.subspan(static_cast<size_t>(first_row + done), static_cast<size_t>(n)),
                          .divisor = spec().logit_divisor, .cap = spec().logit_cap, .out = stage.scores->data() + kValues * static_cast<size_t>(done)});
    }
    stage.scores->begin(kValues * static_cast<size_t>(n_rows));
    const std::span<const float> values = stage.scores->end();
    for (int r = 0; r < n_rows; ++r) {
        const std::span<const float> row = values.subspan(kValues * static_cast<size_t>(r), kValues);
        if (row[2] == 0) nonfinite_logit = true;
        on_score(first_row + r, {row[0], row[1]});
    }
    return true;
}

int Decoder::n_ctx() const { return m_impl->shared.n_ctx; }
const Model& Decoder::model() const { return *m_impl->shared.model; }

uint64_t Decoder::kv_bytes() const {
    uint64_t n = 0;
    for (const auto& stage : m_impl->stages) n += stage->memory.kv_bytes;
    return n;
}

uint64_t Decoder::work_bytes() const {
    uint64_t n = 0;
    for (const auto& stage : m_impl->stages) n += stage->memory.work_bytes;
    return n;
}

}  // namespace gs
