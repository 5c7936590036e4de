#include "engine/decode/decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/core/check.h"
#include "engine/decode/decoder_state.h"

namespace gs {
namespace {

// Rows of logits in the back end's memory at a time: enough to share each row of a large head matrix, and 25 MB for 200,000 words.
constexpr int kHeadRows = 32;

Error cancelled() { return {ErrorKind::kCancelled, "cancelled", "The forward pass was cancelled", "", ""}; }
bool is_cancelled(const CancelFlag* cancel) { return cancel && cancel->is_set(); }

}  // namespace

Error Decoder::Impl::out_of_memory(uint64_t more_bytes) const {
    constexpr double kMB = 1e6;
    return {ErrorKind::kRun, "out_of_memory", "There is not enough memory to run the model",
            fmt::format("a context of {} tokens needs {:.1f} MB for keys and values and {:.1f} MB to work in", n_ctx,
                        static_cast<double>(kv_bytes) / kMB, static_cast<double>(work_bytes + more_bytes) / kMB),
            "Ask for a shorter context, or close other programs"};
}

Result<std::unique_ptr<Decoder>> Decoder::create(std::shared_ptr<const Model> model, std::shared_ptr<Ops> ops, const DecoderOptions& options) {
    auto impl = std::make_unique<Impl>();
    impl->model = std::move(model);
    impl->ops = std::move(ops);
    impl->n_ctx = options.n_ctx > 0 ? options.n_ctx : impl->model->n_ctx;
    GS_CHECK(impl->n_ctx > 0 && options.max_batch > 0, "context and batch must be positive");
    impl->max_batch = std::min(options.max_batch, impl->n_ctx);
    impl->begin = options.begin;
    const ModelSpec& spec = impl->spec();
    impl->moe_row.assign(static_cast<size_t>(spec.n_layers), -1);
    for (size_t m = 0; m < spec.moe_layers.size(); ++m) impl->moe_row[static_cast<size_t>(spec.moe_layers[m])] = static_cast<int>(m);
    GS_TRY_VOID(impl->allocate());
    const ModelWeights& weights = impl->model->weights;
    for (const std::span<const std::byte> original : impl->ops->adopt(weights.matrices(), weights.others(), impl->model)) impl->model->forget(original);
    GS_TRY_VOID(impl->ops->check());
    auto decoder = std::unique_ptr<Decoder>(new Decoder(std::move(impl)));
    decoder->set_policy(Policy{});
    return decoder;
}

Decoder::Decoder(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
Decoder::~Decoder() = default;

Result<void> Decoder::Impl::allocate() {
    const ModelSpec& s = spec();
    const auto u = [](int n) { return static_cast<uint64_t>(n); };
    const uint64_t context = u(s.n_layers) * u(n_ctx), batch = u(max_batch), width = u(s.n_embd);
    struct Plan {
        OpsBuffer& buffer;
        uint64_t n_rows, n_cols;
    };
    // In floats, whatever the type: widths are even or the last value has one to spare.
    const KvType kv_type = ops->kv_type();
    const auto floats = [&](int n_values) { return (u(n_values) * kv_value_bytes(kv_type) + sizeof(float) - 1) / sizeof(float); };
    const Plan kv_plans[] = {{kv_k, context, floats(s.k_width())}, {kv_v, context, floats(s.v_width())}};
    const uint64_t attended_width = u(s.n_heads) * u(s.head_dim_v);
    const Plan work_plans[] = {{x, batch, width}, {normed, batch, width}, {sub, batch, width},
                               {q, batch, u(s.n_heads) * u(s.head_dim_k)}, {k, batch, u(s.k_width())}, {v, batch, u(s.v_width())},
                               {attended, batch, attended_width},
                               {shared_gate, batch, 1}, {head, std::min<uint64_t>(kHeadRows, batch), u(s.n_vocab)},
                               {q_low, batch, u(s.mla.q_rank)}, {q_heads, batch, s.is_mla() ? u(s.query_width()) : 0},
                               {head_values, batch, s.is_mla() ? u(s.value_width()) : 0}};
    for (const Plan& p : kv_plans) kv_bytes += p.n_rows * p.n_cols * sizeof(float);
    for (const Plan& p : work_plans) work_bytes += p.n_rows * p.n_cols * sizeof(float);
    for (const Plan& p : kv_plans)
        if (!p.buffer.allocate(*ops, p.n_rows, p.n_cols)) return out_of_memory();
    const uint64_t n_moe = s.moe_layers.size(), n_experts = u(s.router.n_experts);
    work_bytes += n_moe * batch * (3 * n_experts + 1) * sizeof(float);
    for (const Plan& p : work_plans)
        if (!p.buffer.allocate(*ops, p.n_rows, p.n_cols)) return out_of_memory();
    if (!routing.allocate(*ops, n_moe, batch, n_experts)) return out_of_memory();
    const auto memory = [](const OpsBuffer& buffer) { return reinterpret_cast<std::byte*>(buffer.data()); };
    cache = {memory(kv_k), s.v_width() > 0 ? memory(kv_v) : nullptr, kv_type, s.n_layers, n_ctx, s.n_kv_heads, s.head_dim_k, s.head_dim_v};
    return {};
}

void Decoder::set_policy(const Policy& policy) {
    const ModelSpec& s = m_impl->spec();
    if (!s.is_moe()) return;
    const std::vector<LayerPolicy> policies = resolve(policy, s.router, s.n_layers);
    std::vector<LayerRouter> routers;
    for (int l = 0; l < s.n_layers; ++l) routers.push_back({s.router, policies[static_cast<size_t>(l)], m_impl->layer(l).selection_bias});
    m_impl->routing.routers->set(routers);
    BatchRouting& routing = m_impl->routing;
    routing.k.clear();
    routing.first_slot.assign(1, 0);
    for (const int l : s.moe_layers) {
        routing.k.push_back(policies[static_cast<size_t>(l)].experts_per_token(s.router));
        routing.first_slot.push_back(routing.first_slot.back() + routing.k.back());
    }
}
void Decoder::set_sink(RouteSink* sink) { m_impl->sink = sink; }
void Decoder::set_tap(TapFunction tap) { m_impl->tap = std::move(tap); }
void Decoder::set_logit_function(LogitFunction function) { m_impl->on_logits = std::move(function); }

Result<void> Decoder::forward(std::span<const int32_t> ids, int first_position, LogitRows rows, const CancelFlag* cancel) {
    Impl& impl = *m_impl;
    const int n = static_cast<int>(ids.size());
    GS_CHECK(n > 0 && first_position >= 0, "a forward pass needs tokens and a position");
    for (const int32_t id : ids) GS_CHECK(id >= 0 && id < impl.spec().n_vocab, "token id outside the vocabulary");
    if (n > impl.n_ctx - first_position)
        return Error{ErrorKind::kRun, "context_full", "The context is full",
                     fmt::format("{} tokens from position {} do not fit into {} positions", n, first_position, impl.n_ctx),
                     "Ask for a longer context, or give a shorter prompt"};
    impl.nonfinite = false;
    constexpr float kNone = 0;
    impl.ops->write(&kNone, impl.routing.nonfinite.data(), 1);
    impl.choose_divisors(first_position + n);
    const bool keep = rows != LogitRows::kNone && !(rows == LogitRows::kAll && impl.on_logits);
    impl.n_logit_rows = !keep ? 0 : rows == LogitRows::kLast ? 1 : n;
    impl.logits.resize(static_cast<size_t>(impl.n_logit_rows) * static_cast<size_t>(impl.spec().n_vocab));
    for (int start = 0; start < n; start += impl.max_batch) {
        const int size = std::min(impl.max_batch, n - start);
        GS_TRY_VOID(impl.run_layers(ids.subspan(static_cast<size_t>(start), static_cast<size_t>(size)), first_position + start, start,
                                    impl.spec().n_layers, cancel));
        if (impl.sink && impl.spec().is_moe()) impl.hand_over_routing(size, start);
        if (is_cancelled(cancel)) return cancelled();
        if (rows == LogitRows::kAll) GS_TRY_VOID(impl.head_block(0, size, start, start, cancel));
        if (rows == LogitRows::kLast && start + size == n) GS_TRY_VOID(impl.head_block(size - 1, 1, n - 1, 0, cancel));
    }
    int32_t nonfinite_logit = 0;
    impl.ops->read(impl.routing.nonfinite.data(), reinterpret_cast<float*>(&nonfinite_logit), 1);
    GS_TRY_VOID(impl.ops->check());
    if (impl.nonfinite || nonfinite_logit != 0)
        return Error{ErrorKind::kRun, "nonfinite_weights", "The model computes values that are not finite",
                     "NaN or infinity turned up in its router or its output", "The file is damaged or was converted wrongly: try another copy"};
    return {};
}

std::span<const float> Decoder::logits(int row) const {
    GS_CHECK(row >= 0 && row < m_impl->n_logit_rows, "no such row of logits was asked for");
    const auto n = static_cast<size_t>(m_impl->spec().n_vocab);
    return std::span<const float>(m_impl->logits).subspan(static_cast<size_t>(row) * n, n);
}

Result<void> Decoder::Impl::run_layers(std::span<const int32_t> ids, int position, int first_row, int n_layers, const CancelFlag* cancel) {
    const int n = static_cast<int>(ids.size());
    ops->embed(model->weights.token_embedding, ids, spec().embedding_scale, x.rows(n));
    for (int l = 0; l < n_layers; ++l) {
        if (is_cancelled(cancel)) return cancelled();
        attention_block(l, n, position);
        ffn_block(l, n, first_row);
        if (tap) tap_rows(Tap::kHidden, l, first_row, x.rows(n));
    }
    return {};
}

Result<void> Decoder::Impl::head_block(int from, int n_rows, int first_row, int logit_row, const CancelFlag* cancel) {
    const auto n_vocab = static_cast<size_t>(spec().n_vocab);
    for (int done = 0; done < n_rows; done += kHeadRows) {
        if (is_cancelled(cancel)) return cancelled();   // a batch's head takes as long as all of its layers
        const int n = std::min(kHeadRows, n_rows - done);
        const Rows in = normed.rows(n), out = head.rows(n);
        normalise(x.rows(max_batch).from(from + done, n), model->weights.output_norm, model->weights.output_norm_bias, in);
        if (tap) tap_rows(Tap::kFinal, -1, first_row + done, in);
        const LinearCall call{.weight = &model->weights.output, .bias = &model->weights.output_bias, .out = out};
        ops->linear(in, {&call, 1});
        const bool hand_over = n_logit_rows == 0;
        if (hand_over) logits.resize(n_vocab);
        for (int r = 0; r < n; ++r) {
            const size_t at = hand_over ? 0 : static_cast<size_t>(logit_row + done + r) * n_vocab;
            const std::span<float> row = std::span<float>(logits).subspan(at, n_vocab);
            ops->read(out.row(r), row.data(), n_vocab);
            if (spec().logit_divisor != 1)
                for (float& value : row) value /= spec().logit_divisor;
            if (spec().logit_cap != 0)
                for (float& value : row) value = spec().logit_cap * std::tanh(value / spec().logit_cap);
            // Adding up x - x is 0 for finite values and NaN otherwise: one pass without a branch.
            float check = 0;
            for (const float value : row) check += value - value;
            if (check != 0) nonfinite = true;
            if (hand_over) on_logits(first_row + done + r, row);
        }
    }
    return {};
}

int Decoder::n_ctx() const { return m_impl->n_ctx; }
uint64_t Decoder::kv_bytes() const { return m_impl->kv_bytes; }
uint64_t Decoder::work_bytes() const { return m_impl->work_bytes; }
const Model& Decoder::model() const { return *m_impl->model; }
Ops& Decoder::ops() const { return *m_impl->ops; }

}  // namespace gs
