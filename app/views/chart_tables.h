// The tables behind the charts: the same figures that heatmap, load and gating draw.
#pragma once

#include "app/views/gates_panel_data.h"
#include "app/views/heatmap_panel_picture.h"
#include "app/views/layer_stats.h"
#include "app/widgets/table_view.h"

namespace app {

/// A row a column of the picture (token, or expert of layer × expert), a column a row of it.
TableInput picture_table(const RoutePicture& picture, const gs::TraceSnapshot& trace, const Pick& selected);
/// A row an expert: tokens, share, rank, chance.
TableInput load_table(const LayerStats& stats, int selected_expert);
/// A row an expert: logit, preference, weight under each rule.
TableInput gates_table(const GateData& data, int selected_expert);
/// A row a k: preference kept and, with the engine's answer, the errors of the output.
TableInput gate_curve_table(const GateCurve& curve, int native_k);

}  // namespace app
