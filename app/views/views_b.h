// The panels that view_table.cpp lists but that live in files of their own.
#pragma once

#include <memory>

#include "app/views/view.h"

namespace app {

std::unique_ptr<View> make_heatmap_view();        // heatmap_panel.cpp
std::unique_ptr<View> make_histogram_view();      // histogram_panel.cpp
std::unique_ptr<View> make_gates_view();          // gates_panel.cpp
std::unique_ptr<View> make_layer_policy_view();   // layer_policy_panel.cpp
std::unique_ptr<View> make_sweep_view();          // sweep_panel.cpp
std::unique_ptr<View> make_sensitivity_view();    // sensitivity_panel.cpp
std::unique_ptr<View> make_ablation_view();       // ablation_panel.cpp
std::unique_ptr<View> make_diagram_view();        // diagram_panel.cpp
std::unique_ptr<View> make_cost_view();           // cost_panel.cpp
std::unique_ptr<View> make_side_by_side_view();   // side_by_side_panel.cpp
std::unique_ptr<View> make_experts_view();        // experts_panel.cpp
std::unique_ptr<View> make_expert_view();         // expert_panel.cpp
std::unique_ptr<View> make_coactivation_view();   // coactivation_panel.cpp

std::unique_ptr<View> make_prompt_view();         // top_bar.cpp
std::unique_ptr<View> make_tokens_view();         // tokens.cpp
std::unique_ptr<View> make_compare_view();        // compare.cpp
std::unique_ptr<View> make_inspector_view();      // inspector.cpp
std::unique_ptr<View> make_status_view();         // status_line.cpp

}  // namespace app
