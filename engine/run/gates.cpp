#include "engine/run/gates.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "engine/core/check.h"

namespace gs {
namespace {

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

double norm(const Vector& a) { return std::sqrt(dot(a, a)); }

/// ‖a − b‖ / ‖b‖; 0 for equal vectors, also when both are 0.
double relative_error(const Vector& a, const Vector& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum == 0 ? 0 : std::sqrt(sum) / norm(b);
}

/// 1 for equal vectors, also when both are 0; never outside -1..1.
double cosine(const Vector& a, const Vector& b) {
    if (a == b) return 1;
    const double lengths = norm(a) * norm(b);
    return lengths > 0 ? std::clamp(dot(a, b) / lengths, -1.0, 1.0) : 0;
}

/// Rows of one hidden state as they are filled in, with the routed sum of each beside it.
class Comparer {
public:
    Comparer(const RouterSpec& spec, std::span<const float> bias, const Decoder::Probe& probe)
        : m_spec(spec), m_bias(bias), m_probe(probe), m_width(probe.expert_outputs.size() / static_cast<size_t>(spec.n_experts)) {}

    void add(const char* rule, const LayerPolicy& policy, int position = 0) {
        route(m_spec, policy, m_probe.router_logits, m_bias, m_route, position);
        GateRow row;
        row.rule = rule;
        row.k = m_route.k();
        row.ids = m_route.ids;
        row.weights.assign(static_cast<size_t>(m_spec.n_experts), 0.0f);
        Vector y(m_width, 0.0);
        for (size_t j = 0; j < m_route.ids.size(); ++j) {
            const auto e = static_cast<size_t>(m_route.ids[j]);
            row.weights[e] = m_route.weights[j];
            row.sum += static_cast<double>(m_route.weights[j]);
            add_output(m_route.ids[j], m_route.weights[j], y);
        }
        rows.push_back(std::move(row));
        m_outputs.push_back(std::move(y));
    }
    void compare(size_t native, size_t soft) {
        for (size_t r = 0; r < rows.size(); ++r) {
            rows[r].error_vs_soft = relative_error(m_outputs[r], m_outputs[soft]);
            rows[r].cosine_vs_soft = cosine(m_outputs[r], m_outputs[soft]);
            rows[r].error_vs_native = relative_error(m_outputs[r], m_outputs[native]);
            rows[r].cosine_vs_native = cosine(m_outputs[r], m_outputs[native]);
        }
    }
    double output_norm(size_t row) const { return norm(m_outputs[row]); }

    std::vector<GateRow> rows;

private:
    /// y += the expert's part in the routed sum. Most rules give an expert the same weight, so that outputs on weighed inputs are kept.
    void add_output(int expert, float weight, Vector& y) {
        const float* output = m_probe.expert_outputs.data() + static_cast<size_t>(expert) * m_width;
        double factor = static_cast<double>(weight);
        if (m_probe.weighed_output) {
            std::vector<float>& kept = m_weighed[{expert, weight}];
            if (kept.empty()) kept = m_probe.weighed_output(expert, weight);
            output = kept.data();
            factor = 1;
        }
        for (size_t i = 0; i < m_width; ++i) y[i] += factor * static_cast<double>(output[i]);
    }

    const RouterSpec& m_spec;
    std::span<const float> m_bias;
    const Decoder::Probe& m_probe;
    std::map<std::pair<int, float>, std::vector<float>> m_weighed;
    size_t m_width;
    RouteRow m_route;
    std::vector<Vector> m_outputs;
};

double norm_of(std::span<const float> values) { return norm(Vector(values.begin(), values.end())); }

/// What a request from outside can get wrong.
Result<void> check_request(const Decoder& decoder, const TraceSnapshot& trace, int token, int moe_layer) {
    const Model& model = decoder.model();
    if (trace.info().model_hash != model.hash)
        return Error{ErrorKind::kInput, "wrong_model", "The gating comparison needs the model of this run",
                     fmt::format("the run is of {}, the model loaded is {}", trace.info().model_name, model.spec.name),
                     fmt::format("Load {}", trace.info().model_file)};
    if (trace.info().reading != name_of(model.spec.reading))
        return Error{ErrorKind::kInput, "wrong_reading", "The gating comparison needs the model as this run read it",
                     fmt::format("the run decides as \"{}\" does, the model loaded as \"{}\"", trace.info().reading, name_of(model.spec.reading)),
                     fmt::format("Load it with --reading {}", trace.info().reading)};
    if (token < 0 || token >= trace.n_tokens() || moe_layer < 0 || moe_layer >= static_cast<int>(model.spec.moe_layers.size()))
        return Error{ErrorKind::kUsage, "out_of_range", "There is no such token or layer in this run",
                     fmt::format("it has {} tokens and {} layers with experts", trace.n_tokens(), model.spec.moe_layers.size()), ""};
    if (token >= decoder.n_ctx())
        return Error{ErrorKind::kRun, "context_full", "The run is longer than the context",
                     fmt::format("token {} does not fit into {} positions", token, decoder.n_ctx()), "Ask for a longer context"};
    for (int t = 0; t <= token; ++t) {
        if (trace.token(t).id >= 0 && trace.token(t).id < model.spec.n_vocab) continue;
        return Error{ErrorKind::kInput, "bad_value", "The run cannot be repeated",
                     fmt::format("its token {} has the id {}, which the vocabulary lacks", t, trace.token(t).id), "The trace file is damaged"};
    }
    return {};
}

/// Tokens first..last-1 into the cache, those of one policy in one call.
Result<void> refill(Decoder& decoder, const TraceSnapshot& trace, int first, int last, const CancelFlag* cancel) {
    const ModelSpec& spec = decoder.model().spec;
    std::vector<int32_t> ids;
    for (int start = first; start < last;) {
        const uint32_t policy = trace.token(start).policy;
        ids.clear();
        int end = start;
        for (; end < last && trace.token(end).policy == policy; ++end) ids.push_back(trace.token(end).id);
        GS_TRY_VOID(trace.policy(start).check(spec.router, spec.n_layers));
        decoder.set_policy(trace.policy(start), n_prompt_tokens(trace));
        GS_TRY_VOID(decoder.forward(ids, start, LogitRows::kNone, cancel));
        start = end;
    }
    return {};
}

}  // namespace

const GateRow* GateComparison::find(const std::string& rule, int k) const {
    for (const GateRow& row : rows)
        if (row.rule == rule && (k < 0 || row.k == k)) return &row;
    return nullptr;
}

GateComparison compare_gates(const RouterSpec& spec, const LayerPolicy& policy, std::span<const float> selection_bias,
                             const Decoder::Probe& probe, int position) {
    GS_CHECK(spec.n_experts > 0 && probe.router_logits.size() == static_cast<size_t>(spec.n_experts), "a probe of this router is needed");
    Comparer comparer(spec, selection_bias, probe);
    constexpr size_t kNativeRow = 0, kSoftRow = 2;
    comparer.add("native", {});
    comparer.add("policy", policy, position);
    comparer.add("soft", {.rule = GateRule::kSoft});
    comparer.add("hard", {.rule = GateRule::kHard});
    for (int k = 1; k <= spec.n_experts; ++k) comparer.add("topk", {.rule = GateRule::kTopK, .k = k});
    comparer.compare(kNativeRow, kSoftRow);

    GateComparison out;
    out.logits = probe.router_logits;
    out.preference.resize(probe.router_logits.size());
    preference(spec, out.logits, out.preference);
    const size_t width = probe.expert_outputs.size() / static_cast<size_t>(spec.n_experts);
    for (size_t e = 0; e < static_cast<size_t>(spec.n_experts); ++e)
        out.output_norms.push_back(static_cast<float>(norm_of(std::span<const float>(probe.expert_outputs).subspan(e * width, width))));
    out.shared_norm = norm_of(probe.shared_output);
    out.soft_norm = comparer.output_norm(kSoftRow);
    out.rows = std::move(comparer.rows);
    return out;
}

Result<GateComparison> gate_comparison(Decoder& decoder, const TraceSnapshot& trace, int token, int moe_layer, int cached_tokens,
                                       const CancelFlag* cancel) {
    GS_TRY_VOID(check_request(decoder, trace, token, moe_layer));
    const ModelSpec& spec = decoder.model().spec;
    decoder.set_sink(nullptr);
    if (cached_tokens < token) GS_TRY_VOID(refill(decoder, trace, std::max(cached_tokens, 0), token, cancel));
    const Policy& policy = trace.policy(token);
    GS_TRY_VOID(policy.check(spec.router, spec.n_layers));
    decoder.set_policy(policy);
    GS_TRY(const Decoder::Probe probe, decoder.probe(trace.token(token).id, token, moe_layer, cancel));
    const int layer = spec.moe_layers[static_cast<size_t>(moe_layer)];
    const std::vector<float>& bias = decoder.model().weights.layers[static_cast<size_t>(layer)].selection_bias;
    GateComparison out = compare_gates(spec.router, policy.for_layer(layer, spec.router.n_experts), bias, probe, token);
    out.token = token;
    out.moe_layer = moe_layer;
    out.layer = layer;
    out.trace_revision = trace.revision();
    return out;
}

}  // namespace gs
