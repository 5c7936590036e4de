// The curve of the gates panel: output error over k = 1..E when the model has answered, else how much of the preference the top k keep.
#pragma once

#include "app/views/gates_panel_data.h"
#include "app/views/view.h"

namespace app {

/// ghost: the curve before, drawn faint while an answer is awaited; may be null.
void draw_gate_curve(const ViewContext& context, const GateData& data, const GateCurve* ghost, ImVec2 size);

}  // namespace app
