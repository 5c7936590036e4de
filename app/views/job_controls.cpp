#include "app/views/job_controls.h"

#include <algorithm>

#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {

bool job_button(ViewContext& context, const JobButton& job) {
    const bool busy = context.state.activity == job.activity, has_model = context.state.can_run();
    ImGui::BeginDisabled(!busy && !(job.ready && has_model));
    const bool pressed = icon_button(job.id, busy ? Icon::kStop : Icon::kPlay, busy ? "Stop" : job.name, !busy && job.prominent);
    ImGui::EndDisabled();
    tooltip(has_model ? job.explanation : "Needs a loaded model");
    if (pressed && busy) context.session.cancel();
    return pressed && !busy;
}

void job_progress(const ViewContext& context, gs::Activity activity) {
    if (context.state.activity != activity) return;
    const float width = ImGui::GetFontSize() * 14;
    same_line_if_fits(width);
    ImGui::ProgressBar(static_cast<float>(std::max(context.state.progress, 0.0)), {width, 0}, context.state.progress_text.c_str());
}

}  // namespace app
