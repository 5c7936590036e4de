// The whole window, headless: every state it can be in, and what mouse and keys do to the shared selection and policy.
#include <gtest/gtest.h>

#include <fstream>

#include "app/base/paths.h"
#include "app/shell/app_settings.h"
#include "app/views/policy_edit.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"

namespace app::test {
namespace {

using gs::test::make_trace;
constexpr const char* kTop = "Prompt and routing###prompt";
constexpr double kLongest_seconds = 120;

TEST(Window, DrawsEveryStateItCanBeIn) {
    for (const auto& [size, scale] : {std::pair(ImVec2(1280, 720), 1.0f), std::pair(ImVec2(1280, 720), 3.0f),
                                      std::pair(ImVec2(1920, 1080), 1.0f), std::pair(ImVec2(640, 360), 0.75f)}) {
        WindowStage stage(size, scale);
        stage.frames();
        const int empty = stage.n_vertices();
        EXPECT_GT(empty, 500);
        stage.state.activity = gs::Activity::kLoadingModel;
        stage.state.progress_text = "312 of 804 MB";
        stage.frames();
        stage.state.activity = gs::Activity::kIdle;
        stage.state.notices = {
            {1, true, {gs::ErrorKind::kInput, "truncated", "Cannot open %s", "the file ends early", "Download it again"}},
            {2, false, {}},
            {3, true, {}},
            {4, true, {}}};
        stage.frames();
        const gs::TraceSnapshot trace = make_trace();
        stage.state.model = make_card(trace);
        stage.frames();
        stage.state.run = make_run(trace, 1);
        stage.frames();
        EXPECT_GT(stage.n_vertices(), empty);
        stage.state.previous = make_run(trace, 2);
        stage.state.notices.clear();
        gs::ModelEstimate estimate;
        estimate.weight_bytes = 1'000'000;
        stage.state.estimate = {std::filesystem::path("/models/a.gguf"), estimate};
        stage.frames();
        EXPECT_NE(ImGui::GetTopMostPopupModal(), nullptr);
        stage.state.estimate.reset();
        stage.frames();
        EXPECT_EQ(ImGui::GetTopMostPopupModal(), nullptr);
    }
}

TEST(Window, KeepsThePictureWhileANewRunReadsItsFirstTokens) {
    WindowStage stage;
    stage.state.run = make_run(make_trace(), 1);
    stage.frames();
    auto reading = std::make_shared<gs::RunResult>();
    reading->id = 2;
    reading->phase = gs::RunPhase::kPrefill;
    stage.state.run = reading;
    for (const ViewRow& row : all_views()) {
        stage.ui->raise(row.id);
        stage.frames(6);
    }
    EXPECT_EQ(stage.ui->what_if().trace().n_tokens(), make_trace().n_tokens());
    auto failed = std::make_shared<gs::RunResult>(*reading);
    failed->phase = gs::RunPhase::kFinished;
    stage.state.run = failed;
    stage.frames();
    EXPECT_TRUE(stage.ui->what_if().trace().empty()) << "a run that ended without a token has none to show";
}

TEST(Window, DrawsALargeRunWithEveryPanel) {
    WindowStage stage({1920, 1080});
    stage.state.run = make_run(make_trace({.n_tokens = 4096, .n_layers = 30}), 1);
    stage.frames();
    for (const ViewRow& row : all_views()) {
        stage.ui->raise(row.id);
        stage.frames(6);
        EXPECT_TRUE(stage.is_drawn((std::string(row.title) + "###" + row.id).c_str())) << row.id;
    }
    EXPECT_GT(stage.n_vertices(), 2000);
}

TEST(Window, AsksForNoFramesWhenNothingGoesOn) {
    WindowStage stage;
    stage.state.run = make_run(make_trace(), 1);
    stage.frames(40);
    EXPECT_EQ(stage.ui->awake_until(), 0);
    stage.state.activity = gs::Activity::kRunning;
    stage.frames(1);
    EXPECT_GT(stage.ui->awake_until(), 0) << "progress is shown while something runs";
}

TEST(Window, DraggingKAnswersFromTheRecordedLogitsInTheSameFrame) {
    WindowStage stage;
    const gs::TraceSnapshot trace = make_trace();
    stage.state.run = make_run(trace, 1);
    stage.frames();
    const ImVec2 k = stage.find(kTop, {"###k"});
    const ImGuiWindow* bar = ImGui::FindWindowByName(kTop);
    ImGuiIO& io = ImGui::GetIO();
    io.AddMousePosEvent(k.x, k.y);
    stage.frames(2);
    io.AddMouseButtonEvent(0, true);
    io.AddMousePosEvent(bar->Pos.x + 2, k.y);  // far left: k = 1
    stage.frames(2);
    ASSERT_TRUE(stage.ui->what_if().active());
    EXPECT_EQ(stage.ui->what_if().policy()->k, 1);
    const gs::TraceSnapshot& shown = stage.ui->what_if().trace();
    EXPECT_EQ(shown.info().provenance, gs::Provenance::kWhatIf);
    for (int t = 0; t < trace.n_tokens(); ++t) {
        ASSERT_EQ(shown.ids(2, t).size(), 1u);
        const auto logits = trace.logits(2, t);
        EXPECT_EQ(shown.ids(2, t)[0], std::max_element(logits.begin(), logits.end()) - logits.begin());
    }
    io.AddMouseButtonEvent(0, false);
    stage.frames(3);
    EXPECT_TRUE(stage.ui->what_if().active()) << "without a model nothing can be run again: the picture stays a what-if";
}

TEST(Window, LettingGoOfKRunsTheModelAgainAndCompares) {
    WindowStage stage;
    stage.live = true;
    stage.session.load_model(bundled_model_path());
    stage.session.run({.prompt = "What is a llama?", .max_new_tokens = 12, .sampler = {.temperature = 0}});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames();
    const auto before = stage.session.latest()->run;
    ASSERT_NE(before, nullptr);
    const ImVec2 k = stage.find(kTop, {"###k"});
    stage.play(InputScript().drag(k, {ImGui::FindWindowByName(kTop)->Pos.x + 2, k.y}));
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames();
    const auto state = stage.session.latest();
    EXPECT_EQ(state->policy.to_text(), "k=1");
    ASSERT_NE(state->comparison, nullptr);
    EXPECT_EQ(state->previous->id, before->id);
    EXPECT_GT(state->comparison->b.kl, 0);
    EXPECT_FALSE(stage.ui->what_if().active()) << "the new run is there: nothing is a what-if any more";
    EXPECT_TRUE(stage.is_drawn("Compare###compare"));
    // Undo brings the old routing back.
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Z);
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    EXPECT_TRUE(stage.session.latest()->policy.is_native());
}

TEST(Window, KeysMoveTheSelectionAndSetTheRule) {
    WindowStage stage;
    const gs::TraceSnapshot trace = make_trace({.n_layers = 6});
    stage.state.run = make_run(trace, 1);
    stage.frames();
    stage.type(",");
    EXPECT_EQ(stage.ui->selected().token, trace.n_tokens() - 2);
    stage.key(ImGuiKey_LeftArrow);
    EXPECT_EQ(stage.ui->selected().token, trace.n_tokens() - 3);
    stage.key(ImGuiKey_RightArrow);
    EXPECT_EQ(stage.ui->selected().token, trace.n_tokens() - 2);
    stage.type("]");
    EXPECT_EQ(stage.ui->selected().moe_layer, 4);
    stage.type("[");
    stage.type("[");
    EXPECT_EQ(stage.ui->selected().moe_layer, 2);
    stage.key(ImGuiKey_Escape);
    EXPECT_TRUE(stage.ui->selected().empty());
    stage.type("2");
    EXPECT_EQ(stage.ui->what_if().policy().value_or(gs::Policy{}).k, 2);
    stage.type("s");
    EXPECT_EQ(stage.ui->what_if().policy().value_or(gs::Policy{}).rule, gs::GateRule::kSoft);
    stage.type("H");
    EXPECT_EQ(stage.ui->what_if().policy().value_or(gs::Policy{}).rule, gs::GateRule::kHard);
    stage.type("n");
    EXPECT_FALSE(stage.ui->what_if().active()) << "native is what was recorded";
}

TEST(Window, KeysDoNothingWhileAPromptIsTyped) {
    WindowStage stage;
    stage.state.run = make_run(make_trace(), 1);
    stage.settings.prompt.clear();
    stage.frames();
    stage.click(kTop, {"###prompt_text"});
    stage.type("2 h,");
    stage.key(ImGuiKey_Space);
    EXPECT_EQ(stage.settings.prompt, "2 h,");
    EXPECT_FALSE(stage.ui->what_if().active());
    EXPECT_TRUE(stage.ui->selected().empty());
    stage.key(ImGuiKey_Tab);
    EXPECT_FALSE(stage.ui->what_if().active());
}

TEST(Window, ASelectionMadeInOnePanelIsSeenByTheOthers) {
    WindowStage stage({1600, 900});
    stage.state.run = make_run(make_trace(), 1);
    stage.frames();
    stage.click("Inspector###inspector", {"token", "###before"});
    EXPECT_EQ(stage.ui->selected().token, 62);
    stage.click("Inspector###inspector", {"layer", "###after"});
    EXPECT_EQ(stage.ui->selected().moe_layer, 3);
    // Another run: positions mean other tokens, layers stay.
    stage.state.run = make_run(make_trace({.seed = 2}), 2);
    stage.frames();
    EXPECT_EQ(stage.ui->selected(), (Pick{-1, 3, -1}));
    stage.state.run = make_run(make_trace({.n_layers = 2}), 3);
    stage.frames();
    EXPECT_TRUE(stage.ui->selected().empty());
}

TEST(Window, ScaleKeysStayWithinTheirLimits) {
    WindowStage stage;
    stage.frames();
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Equal);
    EXPECT_EQ(stage.ui->take_requests().appearance.value_or(Appearance{}).scale, 1.25f);
    stage.appearance.scale = kMaxScale;
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Equal);
    EXPECT_EQ(stage.ui->take_requests().appearance.value_or(Appearance{}).scale, kMaxScale);
    stage.appearance.scale = kMinScale;
    stage.key(ImGuiMod_Ctrl | ImGuiKey_Minus);
    EXPECT_EQ(stage.ui->take_requests().appearance.value_or(Appearance{}).scale, kMinScale);
}

TEST(Window, BadFilesBecomeMessagesAndLeaveTheRunAlone) {
    const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / ("drop-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    const auto write = [&](const char* name, const std::string& bytes) {
        std::ofstream(folder / name, std::ios::binary) << bytes;
        return folder / name;
    };
    WindowStage stage;
    stage.live = true;
    stage.session.load_trace(bundled_run_path());
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    const auto run = stage.session.latest()->run;
    const auto last_code = [&] {
        EXPECT_TRUE(stage.session.wait_idle(kLongest_seconds));
        const auto state = stage.session.latest();
        return state->notices.empty() ? std::string() : state->notices.back().error.code;
    };
    stage.ui->open_path(folder / "missing.txt");
    EXPECT_EQ(last_code(), "cannot_open");
    stage.ui->open_path(write("empty.txt", ""));
    EXPECT_EQ(last_code(), "empty_text");
    stage.ui->open_path(write("binary.bin", std::string("a\0b", 3)));
    EXPECT_EQ(last_code(), "not_text");
    stage.ui->open_path(write("long.txt", std::string(10'000'000, 'a')));
    EXPECT_EQ(last_code(), "too_large");
    const size_t n = stage.session.latest()->notices.size();
    stage.ui->open_path(write("broken.gguf", "GGUF and then nothing"));
    EXPECT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.ui->open_path(write("broken.safetensors", "nonsense"));
    EXPECT_TRUE(stage.session.wait_idle(kLongest_seconds));
    EXPECT_EQ(stage.session.latest()->notices.size(), n + 2);
    EXPECT_EQ(stage.session.latest()->run, run);
    stage.ui->open_path(write("prompt.txt", "Why is the sky blue?"));
    EXPECT_EQ(stage.settings.prompt, "Why is the sky blue?");
    stage.frames();
    std::filesystem::remove_all(folder);
}

TEST(WindowSettings, ComeBackAsTheyWere) {
    ViewSettings settings;
    settings.quantity = Quantity::kAppliedWeight;
    settings.token_color = TokenColor::kMargin;
    settings.map = ColorMap::kGreys;
    settings.phase = gs::PhaseFilter::kDecode;
    settings.auto_range = false;
    settings.choice_signs = false;
    settings.logit_error = 0.05f;
    settings.chat = false;
    settings.k_hint_done = true;
    settings.max_new_tokens = 7;
    settings.prompt = "ä \"quoted\"\n";
    settings.sampler.seed = 42;
    nlohmann::json values = nlohmann::json::object();
    write_settings(values, settings, {"contrast", 1.5f});
    const LayoutState kept{LayoutKind::kTune, {"gates"}, {{LayoutKind::kTeach, {{"heatmap"}, "[Docking][Data]\nDockSpace ID=0x1\n"}}}};
    write_layout(values, kept);
    ViewSettings read;
    Appearance appearance;
    read_settings(nlohmann::json::parse(values.dump()), read, appearance);
    nlohmann::json again = nlohmann::json::object();
    write_settings(again, read, appearance);
    LayoutState layout;
    EXPECT_TRUE(read_layout(values, layout));
    EXPECT_EQ(layout.others, kept.others);
    write_layout(again, layout);
    EXPECT_EQ(again, values);
    EXPECT_FALSE(read.choice_signs);
    EXPECT_EQ(read.logit_error, 0.05f);
}

TEST(WindowSettings, OfTheWrongKindKeepTheDefaults) {
    const auto bad = nlohmann::json::parse(
        R"({"theme": 3, "scale": 1e9, "quantity": "no such", "phase": 7, "max_new_tokens": -5, "prompt": [], "sampler": "x=y",
                                              "open_panels": "gates", "layout": 3, "layout_version": "1", "color_map": null, "chat": "yes"})");
    ViewSettings settings;
    const ViewSettings defaults;
    Appearance appearance{"dark", 1};
    read_settings(bad, settings, appearance);
    EXPECT_EQ(appearance.theme, "dark");
    EXPECT_EQ(appearance.scale, 1);
    EXPECT_EQ(settings.max_new_tokens, defaults.max_new_tokens);
    EXPECT_EQ(settings.prompt, defaults.prompt);
    EXPECT_EQ(settings.sampler, defaults.sampler);
    EXPECT_EQ(settings.chat, defaults.chat);
    nlohmann::json older = nlohmann::json::object();   // of before each layout was left as it was
    write_layout(older, {LayoutKind::kTune, {"gates"}});
    older.erase("left_layouts");
    LayoutState left;
    EXPECT_TRUE(read_layout(older, left));
    EXPECT_EQ(left.layout, LayoutKind::kTune);
    EXPECT_EQ(left.open, std::vector<std::string>{"gates"});
    EXPECT_TRUE(left.others.empty());
    older["left_layouts"] = nlohmann::json::parse(R"({"teach": {"docking": 3}, "explore": {"docking": "no such section"}, "tune": {"docking": "[Docking][Data]"}, "x": 1})");
    EXPECT_TRUE(read_layout(older, left));
    EXPECT_TRUE(left.others.empty()) << "where panels of the layout in force stand is in layout.ini";
    older["left_layouts"] = "teach";
    EXPECT_TRUE(read_layout(older, left));
    LayoutState layout;
    EXPECT_FALSE(read_layout(bad, layout));
    EXPECT_FALSE(read_layout(nlohmann::json::object(), layout));
    EXPECT_EQ(layout.layout, LayoutKind::kExplore);
}

}  // namespace
}  // namespace app::test
