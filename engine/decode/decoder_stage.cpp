#include "engine/decode/decoder_stage.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "engine/core/check.h"

namespace gs {

Result<void> poll(const CancelFlag* cancel) {
    if (cancel && cancel->is_set()) return Error{ErrorKind::kCancelled, "cancelled", "The forward pass was cancelled", "", ""};
    return {};
}

Error DecoderStage::out_of_memory(uint64_t more_bytes) const {
    constexpr double kMB = 1e6;
    return {ErrorKind::kRun, "out_of_memory", "There is not enough memory to run the model",
            fmt::format("a context of {} tokens needs {:.1f} MB for keys and values and {:.1f} MB to work in", shared.n_ctx,
                        static_cast<double>(memory.kv_bytes) / kMB, static_cast<double>(memory.work_bytes + more_bytes) / kMB),
            "Ask for a shorter context, or close other programs"};
}

DecoderStage::DecoderStage(const DecoderShared& all, const StageEngine& engine)
    : shared(all), ops(engine.ops), first_layer(engine.first_layer), end_layer(engine.end_layer) {
    for (const int l : spec().moe_layers) {
        n_moe_before += l < first_layer ? 1 : 0;
        if (l >= first_layer && l < end_layer) moe_layers.push_back(l);
    }
}

Result<std::unique_ptr<DecoderStage>> DecoderStage::create(const DecoderShared& shared, const StageEngine& engine) {
    auto stage = std::make_unique<DecoderStage>(shared, engine);
    GS_TRY_VOID(stage->allocate());
    return stage;
}

namespace {

struct BufferPlan {
    OpsBuffer DecoderStage::*buffer;
    uint64_t n_rows, n_cols;              ///< in floats, whatever the type: widths are even or the last value has one to spare
    bool is_cache = false;
    uint64_t n_bytes() const { return n_rows * n_cols * sizeof(float); }
};

std::vector<BufferPlan> plan_buffers(const ModelSpec& s, int first_layer, int end_layer, KvType kv_type, const DecoderOptions& options) {
    using S = DecoderStage;
    const auto u = [](int n) { return static_cast<uint64_t>(n); };
    const uint64_t context = u(end_layer - first_layer) * u(options.n_ctx), batch = u(std::min(options.max_batch, options.n_ctx)), width = u(s.n_embd);
    const auto floats = [&](int n_values) { return (u(n_values) * kv_value_bytes(kv_type) + sizeof(float) - 1) / sizeof(float); };
    return {{&S::kv_k, context, floats(s.k_width()), true},
            {&S::kv_v, context, floats(s.v_width()), true},
            {&S::x, batch, width},
            {&S::normed, batch, width},
            {&S::sub, batch, width},
            {&S::q, batch, u(s.n_heads) * u(s.head_dim_k)},
            {&S::k, batch, u(s.k_width())},
            {&S::v, batch, u(s.v_width())},
            {&S::attended, batch, u(s.n_heads) * u(s.head_dim_v)},
            {&S::shared_gate, batch, 1},
            {&S::q_low, batch, u(s.mla.q_rank)},
            {&S::q_heads, batch, s.is_mla() ? u(s.query_width()) : 0},
            {&S::head_values, batch, s.is_mla() ? u(s.value_width()) : 0}};
}

/// Logits of the last stage.
uint64_t head_floats(const ModelSpec& s, int end_layer, const DecoderOptions& options) {
    if (end_layer < s.n_layers) return 0;
    return static_cast<uint64_t>(std::min({DecoderStage::kHeadRows, options.max_batch, options.n_ctx})) * static_cast<uint64_t>(s.n_vocab);
}

}  // namespace

StageMemory stage_memory(const ModelSpec& spec, int first_layer, int end_layer, KvType kv_type, const DecoderOptions& options) {
    StageMemory memory;
    for (const BufferPlan& p : plan_buffers(spec, first_layer, end_layer, kv_type, options)) (p.is_cache ? memory.kv_bytes : memory.work_bytes) += p.n_bytes();
    const auto n_moe = std::count_if(spec.moe_layers.begin(), spec.moe_layers.end(), [&](int l) { return l >= first_layer && l < end_layer; });
    const auto u = [](auto n) { return static_cast<uint64_t>(n); };
    const uint64_t routing = BatchRouting::most_floats(u(n_moe), u(std::min(options.max_batch, options.n_ctx)), u(spec.router.n_experts));
    memory.work_bytes += (routing + head_floats(spec, end_layer, options)) * sizeof(float);
    return memory;
}

Result<void> DecoderStage::allocate() {
    const ModelSpec& s = spec();
    const KvType kv_type = ops->kv_type();
    const DecoderOptions options{shared.n_ctx, shared.max_batch, shared.begin};
    memory = stage_memory(s, first_layer, end_layer, kv_type, options);
    for (const BufferPlan& p : plan_buffers(s, first_layer, end_layer, kv_type, options))
        if (!(this->*p.buffer).allocate(*ops, p.n_rows, p.n_cols)) return out_of_memory();
    if (!routing.allocate(*ops, moe_layers.size(), static_cast<size_t>(shared.max_batch), static_cast<size_t>(s.router.n_experts))) return out_of_memory();
    if (is_last() && !(head = ops->make_readback(head_floats(s, end_layer, options)))) return out_of_memory();
    const auto bytes = [](const OpsBuffer& buffer) { return reinterpret_cast<std::byte*>(buffer.data()); };
    cache = {bytes(kv_k), s.v_width() > 0 ? bytes(kv_v) : nullptr, kv_type, end_layer - first_layer, shared.n_ctx, s.n_kv_heads, s.head_dim_k, s.head_dim_v};
    return {};
}

int DecoderStage::moe_row(int l) const {
    return static_cast<int>(std::lower_bound(moe_layers.begin(), moe_layers.end(), l) - moe_layers.begin());
}

void DecoderStage::set_policies(std::span<const LayerPolicy> all) {
    const ModelSpec& s = spec();
    const auto policy = [&](int l) -> const LayerPolicy& { return all[static_cast<size_t>(l)]; };
    std::vector<LayerRouter> routers;
    for (int l = first_layer; l < end_layer; ++l) routers.push_back({s.router, policy(l), layer(l).selection_bias});
    routing.routers->set(routers);
    policies.clear();
    for (const int l : moe_layers) policies.push_back(policy(l));
    if (is_by_batch()) batch_routers.resize(moe_layers.size());
    else batch_routers.clear();
    routing.k.clear();
    routing.first_slot.assign(1, 0);
    for (const int l : moe_layers) {
        routing.k.push_back(policy(l).experts_per_token(s.router));
        routing.first_slot.push_back(routing.first_slot.back() + routing.k.back());
    }
}

bool DecoderStage::is_by_batch() const {
    return std::any_of(policies.begin(), policies.end(), [](const LayerPolicy& p) { return p.is_by_batch(); });
}

void DecoderStage::embed(std::span<const int32_t> ids) {
    ops->embed(weights().token_embedding, ids, spec().embedding_scale, x.rows(static_cast<int>(ids.size())));
}

void DecoderStage::take_hidden(const DecoderStage& before, int n_rows) {
    const Rows from = before.x.rows(n_rows), to = x.rows(n_rows);
    if (before.ops == ops) return ops->copy(from, to);
    std::vector<float> values(static_cast<size_t>(n_rows) * static_cast<size_t>(to.n_cols));
    before.ops->read(from.data, values.data(), values.size());
    ops->write(values.data(), to.data, values.size());
}

Result<void> DecoderStage::run_layers(int begin, int end, int n_rows, int position, int first_row, const CancelFlag* cancel) {
    routing.flag_is_clear = moe_layers.empty();
    for (int l = std::max(begin, first_layer); l < std::min(end, end_layer); ++l) {
        GS_TRY_VOID(poll(cancel));
        attention_block(l, n_rows, position);
        ffn_block(l, n_rows, position, first_row);
        if (shared.tap) tap_rows(Tap::kHidden, l, first_row, x.rows(n_rows));
    }
    return {};
}

Result<void> DecoderStage::run_step(std::span<const int32_t> id, int position, bool with_head, const CancelFlag* cancel) {
    Result<void> ran;
    const bool has_head = with_head && is_last();
    routing.flag_is_clear = moe_layers.empty();   // a repeated step calls nothing
    ops->step({.maker = this, .variant = 2 * has_head + shared.long_context}, id, position, [&] {
        if (first_layer == 0) embed(id);
        ran = run_layers(first_layer, end_layer, 1, position, 0, cancel);
        if (ran && has_head) run_head(0, 1, 0);
        return static_cast<bool>(ran);
    });
    return ran;
}

void DecoderStage::run_head(int from, int n_rows, int first_row) {
    const int n_vocab = spec().n_vocab;
    const Rows in = normed.rows(n_rows), out{head->data(), n_rows, n_vocab, n_vocab};
    const LinearCall call{.weight = &weights().output, .bias = &weights().output_bias, .out = out};
    ops->norm_linear(norm_of(x.rows(shared.max_batch).from(from, n_rows), weights().output_norm, &weights().output_norm_bias, in), {&call, 1});
    if (shared.tap) tap_rows(Tap::kFinal, -1, first_row, in);
}

void DecoderStage::clear_nonfinite() {
    constexpr float kNone = 0;
    if (!routing.flag_is_clear) ops->write(&kNone, routing.block->data(), 1);
    routing.flag_is_clear = true;
}

bool DecoderStage::found_nonfinite() {
    if (routing.flag_is_clear) return false;
    routing.flag_is_clear = std::bit_cast<int32_t>(routing.block->end()[0]) == 0;
    return !routing.flag_is_clear;
}

void DecoderStage::ask_for_routing(int n_rows, int position, bool captured) {
    if (moe_layers.empty()) return;
    if (captured && share && shared.drawn_run != 0) share_rows(n_rows, position);
    routing.block->begin(captured ? routing.size(n_rows) : 1);
}

void DecoderStage::share_rows(int n_rows, int position) {
    // All layers of a single row lie one like the other; those of a batch have as many slots as their k asks for.
    const auto n_layers = static_cast<int>(moe_layers.size()), n_together = n_rows == 1 ? n_layers : 1;
    for (int m = 0; m < n_layers; m += n_together) {
        const RouteCall call = routing.call(m, n_rows);
        share->put(shared.drawn_run, {.logits = call.logits.data, .weights = call.weights, .ids = call.ids, .n_used = call.n_used, .k_stride = call.k_stride,
                                      .moe_layer = n_moe_before + m, .n_layers = n_together, .n_rows = n_rows, .first_position = position,
                                      .score = spec().router.score});
    }
}

Result<void> DecoderStage::hand_over_routing(RouteSink& sink, int begin_layer, int n_rows, int first_row) {
    if (moe_layers.empty()) return {};
    const std::span<const float> values = routing.block->end();
    GS_TRY_VOID(ops->check());   // a device that failed has nothing to tell
    for (size_t m = 0; m < moe_layers.size(); ++m) {
        if (moe_layers[m] < begin_layer) continue;   // of an earlier pass
        const auto parts = routing.on_host(values, static_cast<int>(m), n_rows);
        sink.on_route(n_moe_before + static_cast<int>(m), first_row, n_rows, parts.logits, parts.ids, parts.weights, parts.n_used,
                      routing.slots(static_cast<int>(m), n_rows));
    }
    return {};
}

}  // namespace gs
