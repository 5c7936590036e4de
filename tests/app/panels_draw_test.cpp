// Every panel of routes, drawn headless from hand-made states: nothing missing, nothing outside, clicks and hovers reach the shared selection.
#include <gtest/gtest.h>

#include "app/views/views_b.h"
#include "app/views/policy_edit.h"
#include "tests/app/panels_fixture.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

using Make = std::unique_ptr<View> (*)();
constexpr Make kPanels[] = {make_heatmap_view, make_histogram_view, make_gates_view, make_layer_policy_view};


gs::RouterSpec router_of(int n_experts, int k) { return {.n_experts = n_experts, .n_used = k, .score = gs::ScoreFn::kSoftmax, .renormalise = true}; }

TEST(Panels, SayWhatTheyWaitForWithoutARun) {
    for (Make make : kPanels) {
        PanelStage stage({});
        const auto view = make();
        stage.frames(*view);
        EXPECT_TRUE(stage.says("No tokens yet")) << stage.text;
    }
}

TEST(Panels, SayThatADenseModelHasNoRouter) {
    gs::TraceInfo info;
    info.model_name = "dense";
    info.n_layers = 4;
    gs::TraceWriter writer(info);
    const gs::TokenRow row;
    writer.begin_tokens(std::span(&row, 1), {});
    writer.publish();
    for (Make make : kPanels) {
        PanelStage stage(writer.snapshot());
        const auto view = make();
        stage.frames(*view);
        EXPECT_TRUE(stage.says("A dense model")) << stage.text;
    }
}

TEST(Panels, DrawAtEverySizeAndModelShapeInsideTheirWindow) {
    const gs::TraceSnapshot traces[] = {make_trace({.n_tokens = 1, .n_layers = 1, .router = router_of(2, 1)}), make_trace({.n_layers = 6, .n_dense = 2}),
                                        make_trace({.n_tokens = 150, .n_layers = 48, .router = router_of(128, 8)}),
                                        make_trace({.n_tokens = 30, .n_prompt = 10, .policy = "k=1,k@2=7,mask@1=3"})};
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 620)}) {
        for (const gs::TraceSnapshot& trace : traces) {
            for (Make make : kPanels) {
                PanelStage stage(trace, size);
                const auto view = make();
                stage.frames(*view, 4);
                stage.expect_drawn_inside();
            }
        }
    }
}

TEST(Panels, DrawWithAPickThatTheTraceDoesNotHave) {
    for (Make make : kPanels) {
        PanelStage stage(make_trace());
        stage.selected = {.token = 1000, .moe_layer = 77, .expert = 500};
        const auto view = make();
        stage.frames(*view);
        stage.set_trace(make_trace({.n_tokens = 3, .n_layers = 1, .router = router_of(4, 2)}));
        stage.frames(*view);
        EXPECT_GT(stage.n_vertices, 100);
    }
}

/// The first pixel, in reading order on a grid, whose click satisfies `wanted`; {-1, -1} if none does.
template <class Wanted>
ImVec2 find_click(PanelStage& stage, View& view, ImVec2 low, ImVec2 high, float step, Wanted wanted) {
    for (float y = low.y; y < high.y; y += step) {
        for (float x = low.x; x < high.x; x += step) {
            stage.selected = {};
            stage.click(view, {x, y});
            if (wanted()) return {x, y};
        }
    }
    return {-1, -1};
}

TEST(HeatmapPanel, AClickSelectsTokenLayerAndExpertAndAHoverLightsThem) {
    PanelStage stage(make_trace());
    const auto view = make_heatmap_view();
    stage.frames(*view, 4);
    const ImVec2 at = find_click(stage, *view, {200, 200}, {500, 500}, 60, [&] { return stage.selected.expert >= 0; });
    ASSERT_GE(at.x, 0);
    const Pick clicked = stage.selected;
    EXPECT_GE(clicked.token, 0);
    EXPECT_EQ(clicked.moe_layer, 2) << "the layer on screen: the middle one";
    stage.hover(*view, at);
    stage.frames(*view, 1);
    EXPECT_EQ(stage.hovered, clicked) << "the pointer is still there";
}

TEST(HeatmapPanel, ShowsTheLayerThatAnotherPanelSelected) {
    PanelStage stage(make_trace({.n_layers = 8}));
    const auto view = make_heatmap_view();
    stage.selected.moe_layer = 6;
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says("layer 6 of 8")) << stage.text;
}

TEST(HistogramPanel, AClickSelectsLayerAndExpert) {
    PanelStage stage(make_trace({.n_tokens = 300, .n_layers = 12}), {600, 900});
    const auto view = make_histogram_view();
    stage.frames(*view, 4);
    // The small multiples are the lower part: a click there chooses another layer than the middle one.
    const ImVec2 at = find_click(stage, *view, {40, 700}, {600, 890}, 45, [&] { return stage.selected.moe_layer >= 0 && stage.selected.moe_layer != 6 && stage.selected.expert >= 0; });
    ASSERT_GE(at.x, 0);
    EXPECT_LT(stage.selected.moe_layer, 12);
    EXPECT_LT(stage.selected.expert, 16);
}

TEST(HistogramPanel, SaysThatAPhaseHasNoTokens) {
    PanelStage stage(make_trace({.n_tokens = 8, .n_prompt = 8}));
    stage.settings.phase = gs::PhaseFilter::kDecode;
    const auto view = make_histogram_view();
    stage.frames(*view);
    EXPECT_TRUE(stage.says("No tokens in this phase")) << stage.text;
}

TEST(GatesPanel, AReplayedRunSaysThatErrorsNeedTheModel) {
    PanelStage stage(make_trace());
    const auto view = make_gates_view();
    stage.frames(*view);
    EXPECT_TRUE(stage.says("need the model")) << stage.text;
}

TEST(GatesPanel, AClickOnABarSelectsTheExpert) {
    PanelStage stage(make_trace(), {1000, 700});
    const auto view = make_gates_view();
    stage.frames(*view, 4);
    const ImVec2 at = find_click(stage, *view, {80, 180}, {500, 400}, 50, [&] { return stage.selected.expert >= 0; });
    ASSERT_GE(at.x, 0);
    EXPECT_EQ(stage.selected.moe_layer, 2);
}

TEST(LayerPolicyPanel, DraggingAKSliderTriesThePolicyAndLettingGoKeepsItWithoutAModel) {
    PanelStage stage(make_trace({.n_layers = 6}), {900, 600});
    const auto view = make_layer_policy_view();
    stage.frames(*view, 4);
    // Press somewhere on the sliders' column and drag right: some layer's k changes.
    ImGuiIO& io = ImGui::GetIO();
    bool tried = false;
    for (float y = 120; y < 320 && !tried; y += 12) {
        io.AddMousePosEvent(120, y);
        stage.frames(*view, 2);
        io.AddMouseButtonEvent(0, true);
        stage.frames(*view, 2);
        io.AddMousePosEvent(220, y);
        stage.frames(*view, 2);
        tried = stage.what_if.active() && !stage.what_if.policy()->layers.empty();
        io.AddMouseButtonEvent(0, false);
        stage.frames(*view, 2);
    }
    ASSERT_TRUE(tried);
    ASSERT_TRUE(stage.what_if.active()) << "no model to re-run: the what-if stays";
    const gs::Policy& policy = *stage.what_if.policy();
    ASSERT_EQ(policy.layers.size(), 1u);
    const int layer = policy.layers[0].first, k = *policy.layers[0].k;
    EXPECT_EQ(stage.what_if.trace().ids(layer, 5).size(), static_cast<size_t>(k)) << "the picture follows in the same frame";
    EXPECT_EQ(stage.what_if.trace().info().provenance, gs::Provenance::kWhatIf);
}

TEST(LayerPolicyPanel, TypedTextIsAppliedAndAMistakeIsSaidInPlace) {
    PanelStage stage(make_trace({.n_layers = 6}), {900, 600});
    const auto view = make_layer_policy_view();
    stage.frames(*view, 4);
    ImGuiIO& io = ImGui::GetIO();
    const auto type = [&](const char* text) {
        stage.click(*view, {300, 20});
        io.AddKeyEvent(ImGuiMod_Ctrl, true), io.AddKeyEvent(ImGuiKey_A, true);
        stage.frames(*view, 2);
        io.AddKeyEvent(ImGuiKey_A, false), io.AddKeyEvent(ImGuiMod_Ctrl, false);
        stage.frames(*view, 2);
        io.AddInputCharactersUTF8(text);
        stage.frames(*view, 2);
        io.AddKeyEvent(ImGuiKey_Enter, true);
        stage.frames(*view, 2);
        io.AddKeyEvent(ImGuiKey_Enter, false);
        stage.frames(*view, 2);
    };
    type("k@2=99");
    EXPECT_FALSE(stage.what_if.active());
    EXPECT_TRUE(stage.says("99")) << stage.text;
    type("k=2,mask@3=5");
    ASSERT_TRUE(stage.what_if.active());
    EXPECT_EQ(stage.what_if.policy()->to_text(), "k=2,mask@3=5");
    for (const auto id : stage.what_if.trace().ids(3, 4)) EXPECT_NE(id, 5);
}

}  // namespace
}  // namespace app::test
