// The gates beyond k by mouse: popup, biases, and what heatmap and inspector say of drops, ties and fragile choices.
#include <gtest/gtest.h>

#include <set>

#include "app/views/choice_signs.h"
#include "app/views/gate_popup.h"
#include "app/views/layer_policy_panel_edit.h"
#include "app/views/policy_edit.h"
#include "app/views/views_b.h"
#include "app/widgets/heatmap_signs.h"
#include "tests/app/panels_fixture.h"
#include "tests/support/make_trace.h"
#include "imgui_internal.h"

namespace app::test {
namespace {

using gs::test::make_trace;


/// The top bar alone, with the popup of the gates open.
struct GateStage : PanelStage {
    std::unique_ptr<View> view = make_prompt_view();

    GateStage() : PanelStage(make_trace({.n_tokens = 120, .n_layers = 4, .n_prompt = 100}), {1280, 720}) {
        frames(*view, 3);
        click_item("###gates");
    }
    /// A point on the item of that id in the window on top: the popup while it is open.
    ImVec2 find(const char* item) {
        const bool in_popup = GImGui->OpenPopupStack.Size > 0;
        const ImGuiWindow* window = in_popup ? GImGui->OpenPopupStack.back().Window : ImGui::FindWindowByName("###panel");
        EXPECT_NE(window, nullptr);
        if (!window) return {};
        const ImGuiID id = ImHashStr(item, 0, window->ID);
        for (float y = window->Pos.y + 6; y < window->Pos.y + (in_popup ? window->Size.y : 120); y += 6)
            for (float x = window->Pos.x + 6; x < window->Pos.x + window->Size.x; x += 8) {
                ImGui::GetIO().AddMousePosEvent(x, y);
                frames(*view, 1);
                if (GImGui->HoveredId == id) return {x, y};
            }
        ADD_FAILURE() << item << " is not in sight";
        return {};
    }
    void click_item(const char* item) {
        click(*view, find(item));
        frames(*view, 3);
    }
    void drag_item(const char* item, float by_px) {
        const ImVec2 at = find(item);
        hover(*view, at);
        ImGui::GetIO().AddMouseButtonEvent(0, true);
        frames(*view, 2);
        hover(*view, {at.x + by_px, at.y});
        EXPECT_TRUE(what_if.active()) << "dragged, the recorded logits answer";
        ImGui::GetIO().AddMouseButtonEvent(0, false);
        frames(*view, 3);
    }
    gs::Policy policy() const { return what_if.policy().value_or(gs::Policy{}); }
    std::set<size_t> numbers_used() {
        std::set<size_t> out;
        const gs::TraceSnapshot& shown = what_if.trace();
        for (int m = 0; m < shown.n_moe_layers(); ++m)
            for (int t = 0; t < shown.n_tokens(); ++t) out.insert(shown.ids(m, t).size());
        return out;
    }
};

TEST(GatePopup, TopPAndThresholdLetTheNumberOfExpertsVary) {
    GateStage stage;
    stage.click_item("###topp");
    EXPECT_EQ(stage.policy().to_text(), "p=0.7");
    EXPECT_GT(stage.numbers_used().size(), 2u);
    stage.drag_item("###p", 400);
    EXPECT_EQ(stage.policy().p, 1.0f);
    EXPECT_EQ(stage.numbers_used(), (std::set<size_t>{16}));
    stage.click_item("###threshold");
    EXPECT_EQ(stage.policy().rule, gs::GateRule::kThreshold);
    EXPECT_EQ(*stage.numbers_used().rbegin(), 4u) << "of the model's own k";
    EXPECT_GT(stage.numbers_used().size(), 2u);
    EXPECT_TRUE(stage.what_if.active()) << "without the model it stays a what-if";
    stage.click_item("###as_trained");
    EXPECT_EQ(stage.policy().to_text(), "native");
}

TEST(GatePopup, CapacityDropsAndExpertChoiceLevels) {
    GateStage stage;
    stage.click_item("###capacity");
    EXPECT_EQ(stage.policy().to_text(), "capacity=1.25");
    stage.drag_item("###factor", -400);
    EXPECT_EQ(stage.policy().capacity, 0.25f);
    EXPECT_GT(gs::choices_by_position(stage.what_if.trace(), 1, {}).bins[0].counts.dropped, 0u);
    EXPECT_TRUE(stage.numbers_used().contains(0)) << "some tokens find all their experts full";
    stage.click_item("###expert_choice");
    EXPECT_EQ(stage.policy().rule, gs::GateRule::kExpertChoice);
    EXPECT_GT(stage.numbers_used().size(), 2u);
}

TEST(GatePopup, NoiseHasAShownSeed) {
    GateStage stage;
    stage.drag_item("###noise", 400);
    EXPECT_EQ(stage.policy().noise, 4.0f);
    EXPECT_EQ(gate_summary(stage.policy()), "σ 4 #0");
}

TEST(GateSummary, NamesWhatIsInForce) {
    EXPECT_EQ(gate_summary(*gs::Policy::parse("k=2")), "");
    EXPECT_EQ(gate_summary(*gs::Policy::parse("p=0.5,noise=0.25,seed=3,capacity=1.5")), "top-p 0.5 · σ 0.25 #3 · C × 1.5");
}

TEST(LayerEdits, KeepBiasAndTheNumbersOfEveryRule) {
    const std::vector<int> layers = {0, 1, 2, 3};
    for (const char* text : {"p@1=0.5", "tau@1-2=0.25,k@1-2=3", "noise@0=1,bias@0=3+0.5:7-0.25", "rule@2=expert-choice", "p=0.5,k@3=2"}) {
        const gs::Policy policy = *gs::Policy::parse(text), joined = join_layers(policy, split_layers(policy, layers), layers);
        for (const int l : layers) {
            const gs::LayerPolicy a = policy.for_layer(l, 16), b = joined.for_layer(l, 16);
            EXPECT_EQ(a.rule, b.rule) << text;
            EXPECT_TRUE(a.p == b.p && a.tau == b.tau && a.noise == b.noise && a.bias == b.bias && a.k == b.k) << text << " became " << joined.to_text();
        }
    }
    LayerEdit edit;
    set_bias(edit, 7, 0.5f);
    set_bias(edit, 3, -1);
    set_bias(edit, 7, 0.25f);
    EXPECT_EQ(bias_of(edit, 7), 0.25f);
    EXPECT_EQ(edit.bias[0].expert, 3);
    set_bias(edit, 7, 0);
    set_bias(edit, 3, 0);
    EXPECT_TRUE(edit.empty());
}

/// One layer, 4 experts, k = 2: a clear choice, one that bf16 cannot resolve, a tie.
gs::TraceSnapshot planted_choices() {
    gs::TraceInfo info = gs::test::make_trace_info({.n_layers = 1, .router = {.n_experts = 4, .n_used = 2}});
    gs::TraceWriter writer(info);
    const std::vector<std::vector<float>> logits = {{3, 2, 1, 0}, {3, 2, 2.001f, 0}, {3, 2, 2, 0}};
    const std::vector<gs::TokenRow> rows(logits.size(), gs::TokenRow{.text = "a"});
    writer.begin_tokens(rows, {});
    gs::RouteRow row;
    for (size_t t = 0; t < logits.size(); ++t) {
        gs::route(info.router, {}, logits[t], {}, row);
        writer.set_route(0, static_cast<int>(t), logits[t], row.ids, row.weights);
    }
    writer.publish();
    return writer.snapshot();
}

TEST(ChoiceSigns, MarkTheTwoExpertsAtTheBorder) {
    const gs::TraceSnapshot trace = planted_choices();
    RoutePicture picture;
    picture.update(trace, {.kind = PictureKind::kTokenExpert});
    ChoiceSigns signs;
    std::vector<uint8_t> column(4);
    const auto of = [&](int col) {
        std::fill(column.begin(), column.end(), uint8_t{0});
        signs.column(trace, picture, {}, col, column);
        return column;
    };
    constexpr uint8_t kFragile = HeatmapInput::kFragile, kBoth = HeatmapInput::kFragile | HeatmapInput::kTie;
    EXPECT_EQ(of(0), (std::vector<uint8_t>{0, 0, 0, 0}));
    EXPECT_EQ(of(1), (std::vector<uint8_t>{0, kFragile, kFragile, 0}));
    EXPECT_EQ(of(2), (std::vector<uint8_t>{0, kBoth, kBoth, 0}));
    EXPECT_EQ(of(2), (std::vector<uint8_t>{0, kBoth, kBoth, 0}));
    EXPECT_EQ(signs.n_columns(), 3u) << "worked out once each";
    const gs::Policy full = *gs::Policy::parse("capacity=0.5");   // one token an expert
    const gs::TraceSnapshot what_if = gs::what_if_trace(trace, full);
    picture.update(what_if, {.kind = PictureKind::kTokenExpert});
    signs.column(what_if, picture, {}, 2, column);
    EXPECT_TRUE(column[0] & HeatmapInput::kDropped);
    picture.update(what_if, {.kind = PictureKind::kTokenLayer});
    column.assign(1, 0);
    signs.column(what_if, picture, {}, 2, column);
    EXPECT_TRUE(column[0] & HeatmapInput::kDropped);
    EXPECT_TRUE(column[0] & HeatmapInput::kTie);
    LayerChoices layer;
    EXPECT_EQ(layer.counts(trace, 0, {}).fragile, 2u);
    EXPECT_EQ(layer.counts(trace, 0, {}).ties, 1u);
    EXPECT_EQ(layer.counts(trace, 0, {.rms = 10}).fragile, 3u);
}

TEST(ChoiceSigns, AreDrawnWhereCellsAreLargeAndCanBeSwitchedOff) {
    PanelStage stage(planted_choices());
    const auto view = make_heatmap_view();
    stage.frames(*view, 4);
    const int with = stage.n_vertices;
    stage.settings.choice_signs = false;
    stage.frames(*view, 2);
    EXPECT_LT(stage.n_vertices, with);
    // Cells too small to carry them cost nothing: no column is asked for.
    int n_asked = 0;
    HeatmapInput input{.n_cols = 100000, .n_rows = 128};
    input.fill_signs = [&](int, std::span<uint8_t>) { ++n_asked; };
    HeatmapPlot plot{.cols = {0, 100000, 0, 1000, 100000}, .rows = {0, 128, 0, 600, 128}};
    ImDrawList list(ImGui::GetDrawListSharedData());
    draw_signs(plot, input, list);
    EXPECT_EQ(n_asked, 0);
    plot.cols = {500, 50, 0, 1000, 100000};
    plot.rows = {0, 40, 0, 600, 128};
    draw_signs(plot, input, list);
    EXPECT_EQ(n_asked, 50) << "those in sight";
}

TEST(Inspector, CountsFragileChoices) {
    PanelStage stage(planted_choices());
    stage.selected.token = 1;
    const auto view = make_inspector_view();
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("fragile, 2 over 1")) << stage.text;
    EXPECT_TRUE(stage.says("2 of 3")) << stage.text;
    EXPECT_TRUE(stage.says("1 ties") || stage.says("1 tie")) << stage.text;
}

}  // namespace
}  // namespace app::test
