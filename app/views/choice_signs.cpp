#include "app/views/choice_signs.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/widgets/heatmap.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

/// The serial of a trace: rows below its count never change.
uint64_t identity(const gs::TraceSnapshot& trace) { return trace.revision() >> 32; }

uint8_t border_sign(const gs::Choice& choice) {
    return static_cast<uint8_t>((choice.is_tie ? HeatmapInput::kTie : 0) | (choice.is_fragile ? HeatmapInput::kFragile : 0));
}

}  // namespace

void ChoiceSigns::column(const gs::TraceSnapshot& trace, const RoutePicture& picture, gs::LogitError error, int col, std::span<uint8_t> out) {
    const PictureSpec spec = picture.spec().normalized();
    if (identity(trace) != m_trace || !(spec == m_spec) || !(error == m_error)) {
        m_trace = identity(trace);
        m_spec = spec;
        m_error = error;
        m_columns.clear();
    }
    std::vector<uint8_t>& kept = m_columns[col];
    if (kept.empty()) {
        kept.resize(out.size());
        fill(trace, picture, col, kept);
    }
    std::copy_n(kept.begin(), std::min(kept.size(), out.size()), out.begin());
}

void ChoiceSigns::fill(const gs::TraceSnapshot& trace, const RoutePicture& picture, int col, std::span<uint8_t> out) {
    const PictureSpec& spec = picture.spec();
    if (spec.kind == PictureKind::kTokenExpert) {
        const gs::Choice& choice = m_reader.read(trace, spec.moe_layer, col, m_error);
        for (const int expert : {choice.worst_chosen, choice.best_rejected})
            if (expert >= 0) out[static_cast<size_t>(expert)] = border_sign(choice);
        for (const int32_t expert : choice.dropped) out[static_cast<size_t>(expert)] |= HeatmapInput::kDropped;
        return;
    }
    if (spec.kind == PictureKind::kLayerExpert && spec.over_run) return;
    for (int row = 0; row < static_cast<int>(out.size()); ++row) {
        const Pick pick = picture.pick_of(col, row);
        if (pick.moe_layer < 0) continue;
        const int token = spec.kind == PictureKind::kTokenLayer ? col : spec.token;
        const gs::Choice& choice = m_reader.read(trace, pick.moe_layer, token, m_error);
        uint8_t& sign = out[static_cast<size_t>(row)];
        if (spec.kind == PictureKind::kTokenLayer) {
            sign = border_sign(choice);
            if (!choice.dropped.empty()) sign |= HeatmapInput::kDropped;
        } else {
            if (col == choice.worst_chosen || col == choice.best_rejected) sign = border_sign(choice);
            if (std::find(choice.dropped.begin(), choice.dropped.end(), col) != choice.dropped.end()) sign |= HeatmapInput::kDropped;
        }
    }
}

const gs::ChoiceCounts& LayerChoices::counts(const gs::TraceSnapshot& trace, int moe_layer, gs::LogitError error) {
    if (identity(trace) != m_trace || moe_layer != m_moe_layer || !(error == m_error) || trace.n_tokens() < m_n_tokens) {
        m_trace = identity(trace);
        m_moe_layer = moe_layer;
        m_error = error;
        m_counts = {};
        m_n_tokens = 0;
    }
    for (; m_n_tokens < trace.n_tokens(); ++m_n_tokens)
        m_counts.add(m_reader.read(trace, moe_layer, m_n_tokens, error), trace.ids(moe_layer, m_n_tokens).size());
    return m_counts;
}

std::string choice_text(const gs::Choice& choice) {
    const std::string dropped = choice.dropped.empty() ? "" : fmt::format("; {} dropped", choice.dropped.size());
    if (choice.worst_chosen < 0) return "no border" + dropped;
    const std::string pair = fmt::format("{} over {}", choice.worst_chosen, choice.best_rejected);
    return fmt::format("{}, {}{}", choice.is_tie ? "a tie" : choice.is_fragile ? "fragile" : "clear", pair, dropped);
}

std::string fragile_explained(gs::LogitError error) {
    if (error.rms > 0)
        return fmt::format("Fragile: the router logits on both sides of the cut are closer than √2 × {}, the rms error of a logit that you gave, so that it "
                           "would be decided the other way in 16 % of cases or more",
                           format_number(static_cast<double>(error.rms)));
    return "Fragile: router logits on both sides of the cut are so close that rounding them to bf16 may exchange them (half a step each, "
           "2^(floor(log2 |z|) - 8))";
}

}  // namespace app
