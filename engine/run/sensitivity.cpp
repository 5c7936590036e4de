#include "engine/run/sensitivity.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "engine/core/check.h"
#include "engine/run/evaluate_window.h"
#include "engine/run/k_grid.h"

namespace gs {
namespace {

/// Experts that the tokens of a pass used, by MoE layer.
class UsedExperts final : public RouteSink {
public:
    explicit UsedExperts(size_t n_moe_layers) : used(n_moe_layers, 0) {}
    void on_route(int moe_layer, int, int n_rows, std::span<const float>, std::span<const int32_t>, std::span<const float>,
                  std::span<const int32_t> n_used, int) override {
        for (const int32_t n : n_used.first(static_cast<size_t>(n_rows))) used[static_cast<size_t>(moe_layer)] += n;
    }
    std::vector<int64_t> used;               ///< [M]
};

/// Sums of one cell over the windows so far.
struct CellTotals {
    NextTokenTotals next;
    int64_t n_used = 0, n_tokens = 0;        ///< experts over all layers; tokens
};

class Mapper {
public:
    Mapper(Decoder& decoder, SensitivityMap& map, const SensitivityProgress& progress, const CancelFlag* cancel);
    ~Mapper() {
        m_decoder.set_sink(nullptr);
        m_decoder.set_tap(nullptr);
        m_decoder.set_logit_function(nullptr);
    }
    Mapper(const Mapper&) = delete;
    Mapper& operator=(const Mapper&) = delete;

    Result<void> run();

private:
    using OnLogits = Decoder::LogitFunction;
    Result<void> measure_uniform();
    Result<void> run_window(int first, int size);
    Result<void> references(int first, int size);
    Result<void> cell(int moe_layer, int column, int first, int size);
    /// The window under `policy`, from the tokens or, with moe_layer >= 0, from the hidden states that enter that layer.
    Result<void> pass(const Policy& policy, int moe_layer, int first, int size, RouteSink* sink, const OnLogits& on_logits);
    void keep_hidden(int layer, int first_row, std::span<const float> values);
    void add(CellTotals& totals, int first, int token, std::span<const float> logits) const;
    SensitivityCell figures(const CellTotals& totals) const;
    bool starts_at_tokens(int moe_layer) const { return moe_layer < 0 || m_map.moe_layers[static_cast<size_t>(moe_layer)] == 0; }
    double pass_cost(int moe_layer) const;
    double window_cost() const;
    void advance(double cost);

    Decoder& m_decoder;
    const ModelSpec& m_spec;
    SensitivityMap& m_map;
    const SensitivityProgress& m_progress;
    const CancelFlag* m_cancel;
    int m_window;
    double m_head_cost = 0;                      ///< of the head over the vocabulary, in layers
    std::vector<CellTotals> m_totals;            ///< [M, K]
    CellTotals m_unchanged;
    std::vector<float> m_logits;                 ///< [window, V], native
    std::vector<LogProbs> m_native;              ///< [window] over those
    std::vector<std::vector<float>> m_hidden;    ///< [M] of [window, D]: what enters each MoE layer under the base policy
    int m_call_begin = 0;                        ///< token of the window that the decoder's row 0 is
    std::vector<int64_t> m_used;                 ///< [M] experts used under the base policy in this window
    double m_done = 0, m_work = 0;               ///< tokens times layers
};

Mapper::Mapper(Decoder& decoder, SensitivityMap& map, const SensitivityProgress& progress, const CancelFlag* cancel)
    : m_decoder(decoder), m_spec(decoder.model().spec), m_map(map), m_progress(progress), m_cancel(cancel),
      m_window(std::min(map.options.window, decoder.n_ctx())), m_totals(map.cells.size()), m_hidden(map.moe_layers.size()) {
    const double head = static_cast<double>(m_spec.n_vocab) * m_spec.n_embd;
    const double layers = std::max(static_cast<double>(decoder.model().active_params) - head, head);
    m_head_cost = head / layers * m_spec.n_layers;
    m_work = static_cast<double>(map.ids.size()) * window_cost() + static_cast<double>(map.ids.size()) * static_cast<double>(map.ks.size() + 1) * pass_cost(-1);
}

double Mapper::pass_cost(int moe_layer) const {
    return m_spec.n_layers - (moe_layer < 0 ? 0 : m_map.moe_layers[static_cast<size_t>(moe_layer)]) + m_head_cost;
}

/// Of a token of every window: references and cells.
double Mapper::window_cost() const {
    double cost = pass_cost(-1) * (m_map.base.is_native() ? 1 : 2);
    for (int m = 0; m < m_map.n_layers(); ++m)
        for (const int k : m_map.ks) cost += k == m_map.base_k[static_cast<size_t>(m)] ? 0 : pass_cost(m);
    return cost;
}

void Mapper::advance(double cost) {
    m_done += cost;
    if (m_progress) m_progress(m_map, std::min(1.0, m_done / m_work));
}

void Mapper::keep_hidden(int layer, int first_row, std::span<const float> values) {
    const auto next = std::find(m_map.moe_layers.begin(), m_map.moe_layers.end(), layer + 1);
    if (next == m_map.moe_layers.end()) return;
    std::vector<float>& kept = m_hidden[static_cast<size_t>(next - m_map.moe_layers.begin())];
    std::copy(values.begin(), values.end(), kept.begin() + static_cast<std::ptrdiff_t>(first_row) * m_spec.n_embd);
}

Result<void> Mapper::pass(const Policy& policy, int moe_layer, int first, int size, RouteSink* sink, const OnLogits& on_logits) {
    const auto width = static_cast<size_t>(m_spec.n_embd);
    m_decoder.set_policy(policy, size);
    m_decoder.set_sink(sink);
    for (int done = 0; done < size; done += kPassTokens) {
        const int n = std::min(kPassTokens, size - done);
        m_call_begin = done;
        m_decoder.set_logit_function([&](int row, std::span<const float> logits) { on_logits(done + row, logits); });
        if (starts_at_tokens(moe_layer)) {
            const std::span<const int32_t> ids = std::span(m_map.ids).subspan(static_cast<size_t>(first + done), static_cast<size_t>(n));
            GS_TRY_VOID(m_decoder.forward(ids, done, LogitRows::kAll, m_cancel));
        } else {
            const std::span<const float> hidden = std::span(m_hidden[static_cast<size_t>(moe_layer)]).subspan(static_cast<size_t>(done) * width, static_cast<size_t>(n) * width);
            GS_TRY_VOID(m_decoder.forward_from(m_map.moe_layers[static_cast<size_t>(moe_layer)], hidden, done, LogitRows::kAll, m_cancel));
        }
        advance(n * pass_cost(moe_layer));
    }
    return {};
}

void Mapper::add(CellTotals& totals, int first, int token, std::span<const float> logits) const {
    const int position = first + token;
    if (position < m_map.options.first_scored || position + 1 >= static_cast<int>(m_map.ids.size())) return;
    totals.next.add(m_native[static_cast<size_t>(token)], logits, m_map.ids[static_cast<size_t>(position) + 1]);
}

SensitivityCell Mapper::figures(const CellTotals& totals) const {
    const double per_token = static_cast<double>(totals.n_used) / static_cast<double>(std::max<int64_t>(totals.n_tokens, 1));
    return {.n_scored = static_cast<int>(totals.next.n_scored), .kl = totals.next.mean_kl(), .nll = totals.next.mean_nll(),
            .top1_agreement = totals.next.top1_agreement(), .bytes_per_token = m_map.dense_bytes + per_token * m_map.expert_bytes};
}

/// The native logits of a window, and the base policy's hidden states, cache and figures: one pass when they are the same.
Result<void> Mapper::references(int first, int size) {
    const auto n_vocab = static_cast<size_t>(m_spec.n_vocab);
    m_logits.resize(static_cast<size_t>(size) * n_vocab);
    for (std::vector<float>& hidden : m_hidden) hidden.resize(static_cast<size_t>(size) * static_cast<size_t>(m_spec.n_embd));
    const auto row = [&](int token) { return std::span<float>(m_logits).subspan(static_cast<size_t>(token) * n_vocab, n_vocab); };
    const OnLogits keep = [&](int token, std::span<const float> logits) { std::copy(logits.begin(), logits.end(), row(token).begin()); };
    const bool is_native = m_map.base.is_native();
    if (!is_native) GS_TRY_VOID(pass(Policy{}, -1, first, size, nullptr, keep));
    const auto read_native = [&] {
        m_native.clear();
        for (int token = 0; token < size; ++token) m_native.emplace_back(row(token));
    };
    if (!is_native) read_native();
    UsedExperts used(m_map.moe_layers.size());
    m_decoder.set_tap([&](Tap what, int layer, int first_row, int, std::span<const float> values) {
        if (what == Tap::kHidden) keep_hidden(layer, m_call_begin + first_row, values);
    });
    GS_TRY_VOID(pass(m_map.base, -1, first, size, &used, is_native ? keep : [&](int token, std::span<const float> logits) { add(m_unchanged, first, token, logits); }));
    m_decoder.set_tap(nullptr);
    if (is_native) {
        read_native();
        for (int token = 0; token < size; ++token) add(m_unchanged, first, token, row(token));
    }
    m_used = used.used;
    for (const int64_t n : m_used) m_unchanged.n_used += n;
    m_unchanged.n_tokens += size;
    m_map.unchanged = figures(m_unchanged);
    return {};
}

Result<void> Mapper::cell(int moe_layer, int column, int first, int size) {
    const size_t index = static_cast<size_t>(moe_layer) * m_map.ks.size() + static_cast<size_t>(column);
    SensitivityCell& out = m_map.cells[index];
    const bool is_new = out.n_scored == 0;
    const int k = m_map.ks[static_cast<size_t>(column)];
    if (k == m_map.base_k[static_cast<size_t>(moe_layer)]) {
        out = m_map.unchanged;
    } else {
        const int layer = m_map.moe_layers[static_cast<size_t>(moe_layer)];
        CellTotals& totals = m_totals[index];
        UsedExperts used(m_map.moe_layers.size());
        GS_TRY_VOID(pass(with_layer_ks(m_map.base, m_spec.router, {&layer, 1}, {&k, 1}), moe_layer, first, size, &used,
                         [&](int token, std::span<const float> logits) { add(totals, first, token, logits); }));
        for (size_t m = 0; m < m_used.size(); ++m) totals.n_used += static_cast<int>(m) < moe_layer ? m_used[m] : used.used[m];
        totals.n_tokens += size;
        out = figures(totals);
    }
    m_map.n_cells_done += is_new && out.n_scored > 0;
    return {};
}

Result<void> Mapper::run_window(int first, int size) {
    GS_TRY_VOID(references(first, size));
    for (int m = m_map.n_layers() - 1; m >= 0; --m)
        for (int column = 0; column < m_map.n_ks(); ++column) GS_TRY_VOID(cell(m, column, first, size));
    return {};
}

Result<void> Mapper::measure_uniform() {
    std::vector<Policy> policies;
    for (const int k : m_map.ks) policies.push_back(with_uniform_k(m_map.base, k));
    const double whole = static_cast<double>(m_map.ids.size()) * static_cast<double>(policies.size() + 1) * pass_cost(-1);
    const auto progress = [&](const std::vector<PolicyScore>& done, double fraction) {
        m_map.uniform = done;
        m_done = 0;
        advance(fraction * whole);
    };
    GS_TRY(m_map.uniform, score_policies(m_decoder, m_map.ids, Policy{}, policies, m_map.options, progress, m_cancel));
    return {};
}

Result<void> Mapper::run() {
    GS_TRY_VOID(measure_uniform());
    const int n_tokens = static_cast<int>(m_map.ids.size());
    for (int first = 0; first < n_tokens; first += m_window) GS_TRY_VOID(run_window(first, std::min(m_window, n_tokens - first)));
    m_map.complete = true;
    if (m_progress) m_progress(m_map, 1);
    return {};
}

}  // namespace

int SensitivityMap::column_of(int k) const {
    const auto at = std::lower_bound(ks.begin(), ks.end(), k);
    return at != ks.end() && *at == k ? static_cast<int>(at - ks.begin()) : -1;
}

Result<SensitivityMap> measure_sensitivity(Decoder& decoder, std::span<const int32_t> ids, const Policy& base, std::span<const int> ks,
                                           const EvaluateOptions& options, const SensitivityProgress& progress, const CancelFlag* cancel) {
    GS_CHECK(options.window >= 1, "a window holds at least one token");
    const Model& model = decoder.model();
    const ModelSpec& spec = model.spec;
    if (!spec.is_moe())
        return Error{ErrorKind::kInput, "dense_model", "There is no k to change", "this model is dense: it has no routed experts", "Use an MoE model"};
    if (ids.size() < 2) return text_too_short(ids.size());
    GS_TRY_VOID(base.check(spec.router, spec.n_layers));
    SensitivityMap map{.base = base, .model_hash = model.hash, .moe_layers = spec.moe_layers};
    map.ids.assign(ids.begin(), ids.end());
    map.options = options;
    map.options.timed_tokens = 0;
    map.dense_bytes = static_cast<double>(model.dense_bytes_per_token);
    map.expert_bytes = static_cast<double>(model.expert_bytes);
    GS_TRY_VOID(check_ks(ks, spec.router.n_experts));
    map.ks.assign(ks.begin(), ks.end());
    for (const int layer : spec.moe_layers) map.base_k.push_back(k_of(base, spec.router, layer));
    map.ks.insert(map.ks.end(), map.base_k.begin(), map.base_k.end());
    std::sort(map.ks.begin(), map.ks.end());
    map.ks.erase(std::unique(map.ks.begin(), map.ks.end()), map.ks.end());
    for (const int layer : map.moe_layers)           // a k too small for the experts that the base forces
        for (const int k : map.ks) GS_TRY_VOID(with_layer_ks(base, spec.router, {&layer, 1}, {&k, 1}).check(spec.router, spec.n_layers));
    map.cells.resize(map.moe_layers.size() * map.ks.size());
    try {
        GS_TRY_VOID(Mapper(decoder, map, progress, cancel).run());
    } catch (const std::bad_alloc&) {
        return Error{ErrorKind::kRun, "out_of_memory", "There is not enough memory to measure the map",
                     fmt::format("for {} tokens a window, {} logits and {} hidden states of {} values each are kept", options.window, spec.n_vocab, spec.moe_layers.size(), spec.n_embd),
                     "Use a smaller window"};
    }
    return map;
}

}  // namespace gs
