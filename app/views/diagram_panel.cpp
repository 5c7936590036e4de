// The layer that is picked as a diagram: hidden state → router → experts → combine, with the numbers of the token that is picked, and a dense network of
// the same size beside it.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "app/views/ablation_parts.h"
#include "app/views/diagram_draw.h"
#include "app/views/expert_menu.h"
#include "app/views/pick_card.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {
namespace {

constexpr const char* kDense[] = {"beside dense", "MoE alone"};

class DiagramPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void header(ViewContext& context, Pick& pick);
    void update(const ViewContext& context, const Pick& pick);
    void moe(ViewContext& context, const Pick& pick, ImVec2 size);
    DenseBlock counterpart(const ViewContext& context) const;

    RouteReader m_reader;
    DiagramData m_data;
    ExpertMenu m_menu;
    int m_dense = 0;
};

/// Its sizes are the loaded model's where the run is of it.
void DiagramPanel::update(const ViewContext& context, const Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    const gs::TraceInfo& info = trace.info();
    m_reader.set_trace(trace);
    const auto n = static_cast<size_t>(trace.n_experts());
    DiagramData d{.layer = model_layer(info, pick.moe_layer), .moe_layer = pick.moe_layer, .n_experts = trace.n_experts(), .has_shared = info.has_shared_expert, .weigh_input = info.router.weigh_input};
    d.preference.resize(n);
    d.weight.resize(n);
    m_reader.column(Quantity::kPreference, pick.moe_layer, pick.token, d.preference);
    m_reader.column(Quantity::kAppliedWeight, pick.moe_layer, pick.token, d.weight);
    for (int e = 0; e < d.n_experts; ++e) {
        if (std::isnan(d.weight[static_cast<size_t>(e)])) continue;
        d.chosen.push_back(e);
        d.weight_sum += d.weight[static_cast<size_t>(e)];
    }
    std::stable_sort(d.chosen.begin(), d.chosen.end(), [&](int a, int b) { return d.weight[static_cast<size_t>(a)] > d.weight[static_cast<size_t>(b)]; });
    for (const Pick& of : ablated_picks(context))
        if (of.moe_layer == pick.moe_layer) d.ablated.push_back(of.expert);
    d.expert_bytes = static_cast<double>(info.expert_bytes);
    if (can_rerun(context.state)) {
        const gs::ModelSpec& spec = context.state.model->spec;
        d.width = spec.n_embd, d.expert_ff = spec.expert_ff, d.shared_ff = spec.shared_ff;
        d.expert_params = 3.0 * spec.n_embd * spec.expert_ff;
        d.shared_params = 3.0 * spec.n_embd * spec.shared_ff;
    }
    m_data = std::move(d);
}

void DiagramPanel::header(ViewContext& context, Pick& pick) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (layer_stepper("layer", trace.info(), pick.moe_layer)) context.selected.moe_layer = pick.moe_layer;
    same_line_if_fits(button_width(kDense[0]) + button_width(kDense[1]));
    static constexpr const char* kExplained[] = {"A dense network of the same size stands beside the layer", "The layer alone, larger"};
    segmented("dense", kDense, m_dense, kExplained);
    const std::string token = fmt::format("token {} of {}  \"{}\"", pick.token + 1, trace.n_tokens(), short_token(trace.token(pick.token).text, 24));
    same_line_if_fits(ImGui::CalcTextSize(token.c_str()).x);
    ImGui::AlignTextToFramePadding();
    ImGui::TextUnformatted(token.c_str());
    badge_on_line(context, trace.info().provenance);
    int hovered = -1;
    const int clicked = draw_layer_strip(context, trace.info(), pick.moe_layer, hovered, ImGui::GetContentRegionAvail().x);
    if (hovered >= 0) context.hovered_next.moe_layer = hovered;
    if (clicked >= 0) context.selected.moe_layer = pick.moe_layer = clicked;
}

void DiagramPanel::moe(ViewContext& context, const Pick& pick, ImVec2 size) {
    bool clicked = false;
    const int expert = draw_moe_diagram(context, m_data, size, clicked);
    m_menu.draw(context);
    if (expert < 0) return;
    context.hovered_next = {pick.token, pick.moe_layer, expert};
    pick_card(context, context.hovered_next, kExpertMenuHint);
    if (clicked) context.selected = {context.selected.token, pick.moe_layer, expert};
    if (ImGui::IsMouseClicked(ImGuiMouseButton_Right)) m_menu.open(context.hovered_next);
}

/// A dense FFN of the same total size, or, once the two models were run side by side, the dense model's own.
DenseBlock DiagramPanel::counterpart(const ViewContext& context) const {
    const DiagramData& d = m_data;
    const auto& side = context.state.side_by_side;
    if (side && side->b.card.spec.dense_ff > 0 && !side->b.card.spec.is_moe()) {
        const gs::ModelSpec& spec = side->b.card.spec;
        const double params = 3.0 * spec.n_embd * spec.dense_ff;
        return {fmt::format("dense: {}", spec.name), {fmt::format("every token uses all {} parameters", format_count(static_cast<uint64_t>(params))), fmt::format("of one layer (width {}); no router", spec.dense_ff)}, 1};
    }
    DenseBlock block{.title = d.has_shared ? "dense, as large as all routed experts" : "dense, as large as all experts", .lines = {}, .n_cells = d.n_experts};
    const double n = d.n_experts, used = static_cast<double>(d.chosen.size());
    if (d.expert_params > 0) block.lines.push_back(fmt::format("every token uses all {} parameters", format_count(static_cast<uint64_t>(n * d.expert_params))));
    else block.lines.push_back("every token uses every parameter");
    if (d.expert_bytes > 0) block.lines.push_back(fmt::format("reads {} per token and layer", format_bytes(n * d.expert_bytes)));
    if (used > 0) block.lines.push_back(fmt::format("{} times what the experts used here read", format_number(n / used)));
    return block;
}

void DiagramPanel::draw(ViewContext& context) {
    const gs::TraceSnapshot& trace = context.what_if.trace();
    if (draw_if_no_routes(context, trace)) return;
    Pick pick = effective_pick(trace, context.selected);
    header(context, pick);
    update(context, pick);
    const float u = ImGui::GetFontSize();
    caption(fmt::format("Layer {}: lit experts are used, brighter ones weigh more; lines are as thick as weights, grey bars are preferences. {}", m_data.layer,
                        m_data.ablated.empty() ? "" : fmt::format("Struck through: ablated ({}).", fmt::join(m_data.ablated, " "))));
    const ImVec2 room = ImGui::GetContentRegionAvail();
    const float gap = ImGui::GetStyle().ItemSpacing.x * 2;
    if (m_dense != 0) return moe(context, pick, {room.x, std::max(room.y, u * 13)});
    const bool wide = room.x > u * 58;
    const float side = wide ? std::clamp(room.x * 0.26f, u * 16, u * 24) : room.x;
    moe(context, pick, {wide ? room.x - side - gap : room.x, std::max(wide ? room.y : room.y - u * 12, u * 13)});
    if (wide) ImGui::SameLine(0, gap);
    draw_dense_block(context, counterpart(context), {side, wide ? std::max(room.y, u * 13) : u * 11});
}

}  // namespace

std::unique_ptr<View> make_diagram_view() { return std::make_unique<DiagramPanel>(); }

}  // namespace app
