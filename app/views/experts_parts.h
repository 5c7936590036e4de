// Parts of the panel about what experts are for: its values, table, cards and verdict.
#pragma once

#include <string>
#include <vector>

#include "app/views/layer_plot.h"
#include "app/views/sensitivity_picture.h"
#include "app/views/view.h"
#include "engine/run/expert_study.h"

namespace app {

enum class LabelKind : uint8_t { kDomain, kClass };
enum class LabelQuantity : uint8_t { kLift, kShare };

/// The labels of one layer that have tokens.
struct LabelTable {
    LabelKind kind = LabelKind::kDomain;
    const gs::LabelCounts* counts = nullptr;
    std::vector<int> labels;               ///< row → label
    std::vector<std::string> names;        ///< by label
    std::string name(int row) const { return names[static_cast<size_t>(labels[static_cast<size_t>(row)])]; }
};
LabelTable label_table(const gs::ExpertStudy& study, int moe_layer, LabelKind kind);

/// Lift: its log2 (0 tokens: −∞; NaN for an expert that is never used). Share: 0..1.
float label_value(const LabelTable& table, int expert, int row, LabelQuantity quantity);
/// Lift: symmetric about 0.
ValueRange label_range(const LabelTable& table, LabelQuantity quantity);
int cells_beyond_chance(const LabelTable& table);
/// In percent of the label's entropy, with the band of shuffles.
LayerCurve information_curve(const gs::ExpertStudy& study, LabelKind kind, bool given, ImU32 color);

void label_card(const gs::ExpertStudy& study, int moe_layer, const LabelTable& table, int expert, int row);
void information_card(const gs::ExpertStudy& study, int moe_layer, bool given);
/// Experts down, labels across. Returns the expert whose row was clicked, or -1.
int draw_label_table(ViewContext& context, const LabelTable& table, LabelQuantity quantity, const Pick& pick, ImVec2 size);
/// Which claim holds, with its figures, texts and shuffles.
void draw_verdict(const ViewContext& context, const gs::ExpertStudy& study);

}  // namespace app
