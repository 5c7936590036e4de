// Prompt bar, tokens, inspector, compare and status line, each alone, drawn headless from hand-made states.
#include <gtest/gtest.h>

#include "app/views/overlays.h"
#include "app/views/policy_edit.h"
#include "app/views/token_values.h"
#include "app/views/views_b.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;

using Make = std::unique_ptr<View> (*)();
constexpr Make kViews[] = {make_prompt_view, make_tokens_view, make_inspector_view, make_compare_view, make_status_view};


gs::TraceSnapshot dense_trace() {
    gs::TraceInfo info;
    info.model_name = "dense";
    info.n_layers = 4;
    gs::TraceWriter writer(info);
    const gs::TokenRow row{.text = "a"};
    writer.begin_tokens(std::span(&row, 1), {});
    writer.publish();
    return writer.snapshot();
}

TEST(Views, DrawAtEverySizeAndModelShapeInsideTheirWindow) {
    const gs::RouterSpec large{.n_experts = 128, .n_used = 8, .score = gs::ScoreFn::kSigmoid, .renormalise = true};
    const gs::TraceSnapshot traces[] = {{},
                                        dense_trace(),
                                        make_trace({.n_tokens = 1, .n_layers = 1}),
                                        make_trace({.n_tokens = 300, .n_layers = 48, .router = large, .selection_bias = true}),
                                        make_trace({.n_prompt = 10, .policy = "k=1,k@2=7,mask@1=3"})};
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 300)})
        for (const gs::TraceSnapshot& trace : traces)
            for (Make make : kViews) {
                PanelStage stage(trace, size);
                if (!trace.empty()) stage.state.previous = make_run(trace, 99);
                const auto view = make();
                stage.frames(*view, 4);
                EXPECT_GT(stage.n_vertices, 20);
                EXPECT_GE(stage.drawn_low.x, 0);
                EXPECT_LE(stage.drawn_high.x, size.x);
                EXPECT_LE(stage.drawn_high.y, size.y);
            }
}

TEST(Views, WithoutARunOfferTheOneAction) {
    PanelStage stage({}, {600, 300});
    for (Make make : {make_tokens_view, make_inspector_view}) {
        const auto view = make();
        stage.frames(*view);
        EXPECT_TRUE(stage.says("Open a file…")) << stage.text;
    }
    const auto compare = make_compare_view();
    stage.frames(*compare);
    EXPECT_TRUE(stage.says("Nothing to compare yet"));
}

TEST(Views, TextOfATokenIsNeverAFormatOrAnId) {
    gs::TraceInfo info = gs::test::make_trace_info({.n_layers = 1});
    info.model_name = "%s%n###x";
    gs::TraceWriter writer(info);
    for (const char* text : {"%s%s%n%d", "###same", "###same", "##", "\xff\xfe", "%"}) {
        const gs::TokenRow row{.text = text};
        writer.begin_tokens(std::span(&row, 1), {});
        const std::vector<float> logits(16, 0.5f);
        const int32_t ids[] = {0, 1};
        const float weights[] = {0.5f, 0.5f};
        writer.set_route(0, 0, logits, ids, weights);
        writer.publish();
    }
    PanelStage stage(writer.snapshot(), {500, 900});
    for (Make make : kViews) {
        const auto view = make();
        stage.frames(*view, 3);
    }
    const auto inspector = make_inspector_view();
    stage.selected.token = 0;
    stage.frames(*inspector, 3);
    EXPECT_TRUE(stage.says("%s%s%n%d")) << stage.text;
}

TEST(Inspector, SaysWhatTheTraceHolds) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 40, .n_layers = 3});
    PanelStage stage(trace, {420, 1200});
    stage.selected = {.token = 17, .moe_layer = 1, .expert = 5};
    const auto view = make_inspector_view();
    stage.frames(*view, 3);
    EXPECT_TRUE(stage.says("Token 18 of 40")) << stage.text;
    EXPECT_TRUE(stage.says(std::to_string(trace.token(17).id)));
    EXPECT_TRUE(stage.says("Layer " + std::to_string(trace.info().moe_layers[1]) + " of 3"));
    uint32_t load = 0;  // counted here from the ids, not by the code under test
    for (int t = 0; t < trace.n_tokens(); ++t)
        for (const uint16_t id : trace.ids(1, t)) load += id == 5;
    EXPECT_TRUE(stage.says(std::to_string(load) + " of 40 tokens")) << stage.text;
    EXPECT_TRUE(stage.says("k = 4 of 16"));
}

TEST(Tokens, TopExpertsAreCountedFromTheIds) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 200, .n_layers = 2});
    TokenValues values;
    values.update(trace, TokenColor::kTopExpert, 1);
    std::vector<int> counts(16, 0);
    for (int t = 0; t < trace.n_tokens(); ++t) {
        EXPECT_EQ(values.value(t), static_cast<float>(trace.ids(1, t)[0]));
        ++counts[trace.ids(1, t)[0]];
    }
    const auto& frequent = values.frequent_experts();
    EXPECT_LE(frequent.size(), 8u);
    for (size_t i = 0; i < frequent.size(); ++i) {
        EXPECT_EQ(frequent[i].second, counts[static_cast<size_t>(frequent[i].first)]);
        EXPECT_GE(frequent[i == 0 ? 0 : i - 1].second, frequent[i].second);
    }
    values.update(trace, TokenColor::kLogprob, 1);
    EXPECT_EQ(values.value(50), -trace.token(50).logprob);
}

TEST(Tokens, AClickSelectsTheTokenUnderThePointer) {
    PanelStage stage(make_trace({.n_tokens = 30}), {900, 300});
    const auto view = make_tokens_view();
    stage.frames(*view, 3);
    const ImVec2 strip = ImGui::FindWindowByName("###panel")->Pos;
    for (float y = strip.y + 40; y < 200 && stage.selected.token < 0; y += 6) stage.click(*view, {strip.x + 20, y});
    EXPECT_EQ(stage.selected.token, 0);
    EXPECT_EQ(stage.hovered.token, 0);
}

TEST(Compare, ShowsBothTextsAndWhatWasMeasured) {
    const gs::TraceSnapshot trace = make_trace({.n_layers = 3});
    PanelStage stage(trace, {1300, 300});
    stage.state.previous = make_run(trace, 50, "old words here");
    auto run = make_run(make_trace({.n_layers = 3, .policy = "k=1"}), 51, "new words here");
    stage.state.run = run;
    stage.what_if.set_run(run->trace);
    const auto view = make_compare_view();
    stage.frames(*view, 3);
    EXPECT_TRUE(stage.says("not measured")) << stage.text;
    auto c = std::make_shared<gs::PolicyComparison>();
    c->run_a = 50, c->run_b = 51, c->first_difference = 0;
    c->b.kl = 0.4567, c->b.top1_agreement = 0.625, c->b.route_agreement = {0.25, 0.5, 0.75};
    stage.state.comparison = c;
    stage.frames(*view, 3);
    EXPECT_TRUE(stage.says("0.457 nats")) << stage.text;
    EXPECT_TRUE(stage.says("62.5 %"));
    EXPECT_TRUE(stage.says("50.0 % (mean of 3 layers)"));
    c = std::make_shared<gs::PolicyComparison>(*c);
    c->run_b = 49;  // of another run: must not be shown for these two
    stage.state.comparison = c;
    stage.frames(*view, 3);
    EXPECT_FALSE(stage.says("0.457 nats"));
}

TEST(LoadDialog, RefusesWithBothNumbersWhenTheMemoryIsNotThere) {
    gs::ModelEstimate e;
    e.weight_bytes = 4'210'000'000, e.kv_bytes = 268'000'000, e.work_bytes = 88'000'000;
    e.memory_available = 18'000'000'000;
    EXPECT_EQ(refusal(e), "");
    e.memory_available = 0;  // unknown: nothing to refuse with
    EXPECT_EQ(refusal(e), "");
    e.memory_available = 3'100'000'000;
    EXPECT_NE(refusal(e).find("4.57 GB"), std::string::npos);
    EXPECT_NE(refusal(e).find("3.10 GB"), std::string::npos);
}

}  // namespace
}  // namespace app::test
