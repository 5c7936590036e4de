#include "app/views/gates_panel_data.h"

#include <algorithm>
#include <numeric>

namespace app {
namespace {

gs::LayerPolicy plain(gs::GateRule rule, int k = 0) {
    gs::LayerPolicy policy;
    policy.rule = rule;
    policy.k = k;
    return policy;
}

GateRule rule_of(GateRule::Kind kind, const gs::RouteRow& row, const std::vector<float>& preference) {
    GateRule out;
    out.kind = kind;
    out.k = row.k();
    out.weights.assign(preference.size(), 0.0f);
    for (size_t slot = 0; slot < row.ids.size(); ++slot) {
        const auto e = static_cast<size_t>(row.ids[slot]);
        out.weights[e] = row.weights[slot];
        out.sum += static_cast<double>(row.weights[slot]);
        out.kept += static_cast<double>(preference[e]);
    }
    return out;
}

std::optional<GateRule::Errors> errors_of(const gs::GateRow* row) {
    if (!row) return std::nullopt;
    return GateRule::Errors{row->error_vs_soft, row->cosine_vs_soft, row->error_vs_native};
}

}  // namespace

float GateData::largest_weight() const {
    float most = preference.empty() ? 0 : *std::max_element(preference.begin(), preference.end());
    for (const GateRule& rule : rules) {
        for (float w : rule.weights) most = std::max(most, w);
    }
    return most;
}

GateData gate_data(const gs::TraceSnapshot& trace, int moe_layer, int token, const gs::LayerPolicy& policy) {
    const gs::RouterSpec& spec = trace.info().router;
    const auto logits = trace.logits(moe_layer, token);
    GateData data;
    data.token = token;
    data.moe_layer = moe_layer;
    data.logits.assign(logits.begin(), logits.end());
    data.preference.resize(logits.size());
    gs::preference(spec, logits, data.preference);
    data.policy_is_native = policy.is_native();

    gs::RouteRow row;
    const auto add = [&](GateRule::Kind kind, const gs::LayerPolicy& rule) {
        gs::what_if_route(trace, moe_layer, token, rule, row);
        data.rules.push_back(rule_of(kind, row, data.preference));
    };
    add(GateRule::kSoft, plain(gs::GateRule::kSoft));
    add(GateRule::kHard, plain(gs::GateRule::kHard));
    add(GateRule::kTopK, plain(gs::GateRule::kNative));
    data.native_k = row.k();
    const std::vector<float> score = row.selection;
    add(GateRule::kPolicy, policy);

    data.by_score.resize(score.size());
    std::iota(data.by_score.begin(), data.by_score.end(), 0);
    std::stable_sort(data.by_score.begin(), data.by_score.end(), [&](int a, int b) { return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)]; });
    double kept = 0;
    for (size_t i = 0; i < data.by_score.size(); ++i) {
        kept += static_cast<double>(data.preference[static_cast<size_t>(data.by_score[i])]);
        data.curve.k.push_back(static_cast<double>(i + 1));
        data.curve.kept.push_back(kept);
    }
    return data;
}

void add_errors(GateData& data, const gs::GateComparison& answer, bool policy_recorded) {
    data.output_norms = answer.output_norms;
    data.shared_norm = answer.shared_norm;
    data.soft_norm = answer.soft_norm;
    data.curve.error_vs_soft.clear(), data.curve.error_vs_native.clear(), data.curve.cosine_vs_soft.clear(), data.curve.sum.clear();
    for (const gs::GateRow& row : answer.rows) {
        if (row.rule != "topk") continue;
        data.curve.error_vs_soft.push_back(row.error_vs_soft);
        data.curve.error_vs_native.push_back(row.error_vs_native);
        data.curve.cosine_vs_soft.push_back(row.cosine_vs_soft);
        data.curve.sum.push_back(row.sum);
    }
    if (data.curve.error_vs_soft.size() != data.curve.k.size()) {    // not of this model: leave the errors out rather than draw a wrong curve
        data.curve.error_vs_soft.clear(), data.curve.error_vs_native.clear(), data.curve.cosine_vs_soft.clear(), data.curve.sum.clear();
    }
    for (GateRule& rule : data.rules) {
        switch (rule.kind) {
            case GateRule::kSoft: rule.errors = errors_of(answer.find("soft")); break;
            case GateRule::kHard: rule.errors = errors_of(answer.find("hard")); break;
            case GateRule::kTopK: rule.errors = errors_of(answer.find("native")); break;
            case GateRule::kPolicy: {
                const gs::GateRow* same = policy_recorded ? answer.find("policy") : nullptr;
                for (const gs::GateRow& row : answer.rows) {
                    if (!same && row.weights == rule.weights) same = &row;
                }
                rule.errors = errors_of(same);
                break;
            }
        }
    }
}

}  // namespace app
