#include "app/views/chart_tables.h"

#include <fmt/format.h>

#include <cmath>

#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {

TableInput picture_table(const RoutePicture& picture, const gs::TraceSnapshot& trace, const Pick& selected) {
    const PictureKind kind = picture.spec().kind;
    const bool tokens_down = kind != PictureKind::kLayerExpert;
    const auto row_word = kind == PictureKind::kTokenExpert ? "expert" : "layer";
    return {.n_rows = picture.n_cols(),
            .n_columns = picture.n_rows() + 1,
            .title = [=](int c) { return c == 0 ? std::string(tokens_down ? "token" : "expert") : fmt::format("{} {}", row_word, c - 1); },
            .text =
                [&picture, &trace, tokens_down](int row, int c) {
                    if (c == 0) return tokens_down && row < trace.n_tokens() ? fmt::format("{} {}", row + 1, short_token(trace.token(row).text, 16)) : std::to_string(row);
                    const float value = picture.value(row, c - 1);
                    return std::isnan(value) ? std::string("–") : fmt::format("{:.4g}", value);
                },
            .selected = picture.col_of(selected)};
}

TableInput load_table(const LayerStats& stats, int selected_expert) {
    static constexpr const char* kTitles[] = {"expert", "tokens", "share of tokens", "rank", "against chance"};
    return {.n_rows = static_cast<int>(stats.load.counts.size()),
            .n_columns = static_cast<int>(std::size(kTitles)),
            .title = [](int c) { return std::string(kTitles[c]); },
            .text =
                [&stats](int expert, int c) {
                    const double share = stats.share(expert);
                    switch (c) {
                        case 0: return std::to_string(expert);
                        case 1: return fmt::format("{} of {}", stats.load.counts[static_cast<size_t>(expert)], stats.load.n_tokens);
                        case 2: return format_percent(share);
                        case 3: return std::to_string(stats.rank(expert));
                        default: return std::string(share < stats.null.band_low ? "below the band" : share > stats.null.band_high ? "above the band" : "within the band");
                    }
                },
            .selected = selected_expert};
}

TableInput gates_table(const GateData& data, int selected_expert) {
    static constexpr const char* kRules[] = {"soft", "hard", "top-k", "policy"};
    return {.n_rows = static_cast<int>(data.preference.size()),
            .n_columns = 3 + static_cast<int>(data.rules.size()),
            .title =
                [&data](int c) {
                    if (c < 3) return std::string(c == 0 ? "expert" : c == 1 ? "router logit" : "preference");
                    const GateRule& rule = data.rules[static_cast<size_t>(c - 3)];
                    return fmt::format("weight, {}{}", kRules[rule.kind], rule.kind == GateRule::kTopK ? fmt::format(" {}", rule.k) : "");
                },
            .text =
                [&data](int expert, int c) {
                    const auto e = static_cast<size_t>(expert);
                    if (c == 0) return std::to_string(expert);
                    if (c == 1) return fmt::format("{:.4g}", data.logits[e]);
                    if (c == 2) return fmt::format("{:.4g}", data.preference[e]);
                    const float weight = data.rules[static_cast<size_t>(c - 3)].weights[e];
                    return weight == 0 ? std::string("–") : fmt::format("{:.4g}", weight);
                },
            .selected = selected_expert};
}

TableInput gate_curve_table(const GateCurve& curve, int native_k) {
    static constexpr const char* kTitles[] = {"k", "preference kept", "error vs soft", "cosine vs soft", "error vs native"};
    return {.n_rows = static_cast<int>(curve.k.size()),
            .n_columns = curve.has_errors() ? 5 : 2,
            .title = [](int c) { return std::string(kTitles[c]); },
            .text =
                [&curve](int row, int c) {
                    const auto i = static_cast<size_t>(row);
                    if (c == 0) return fmt::format("{:.0f}", curve.k[i]);
                    if (c == 1) return format_percent(curve.kept[i]);
                    return fmt::format("{:.4g}", c == 2 ? curve.error_vs_soft[i] : c == 3 ? curve.cosine_vs_soft[i] : curve.error_vs_native[i]);
                },
            .selected = native_k - 1};
}

}  // namespace app
