// The panels about experts: what they show of a study made of a synthetic run, and the whole way by mouse from the button to a selected expert.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include "app/views/coactivation_data.h"
#include "app/views/experts_parts.h"
#include "app/views/study_controls.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/expert_export.h"
#include "tests/app/panels_fixture.h"
#include "tests/app/views_stage.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

using gs::test::make_trace;
constexpr double kLongest_seconds = 120;

/// Halves of a synthetic run as two domains.
std::shared_ptr<gs::ExpertStudy> make_study(const gs::test::MakeTrace& options = {.n_tokens = 240}, bool complete = true) {
    auto study = std::make_shared<gs::ExpertStudy>();
    study->trace = make_trace(options);
    study->model_hash = study->trace.info().model_hash;
    const int n = study->trace.n_tokens();
    study->texts = {{.domain = "prose", .begin = 0, .end = n / 2}, {.domain = "50 % \"code\"###x", .begin = n / 2, .end = n}};
    study->n_texts_wanted = complete ? 2 : 3;
    study->n_shuffles = 20;
    study->tokens = gs::study_tokens(study->trace, study->texts);
    const gs::StudyShuffles shuffles(study->tokens, 20);
    for (int m = 0; m < study->trace.n_moe_layers(); ++m) {
        gs::LayerRoutes routes = gs::layer_routes(study->trace, m, study->tokens.rows);
        gs::SlotOutputs outputs;
        for (size_t slot = 0; slot < routes.ids.size(); ++slot) {
            outputs.norm.push_back(1 + static_cast<float>(routes.ids[slot]));
            outputs.part.push_back(outputs.norm.back() * routes.weights[slot]);
            outputs.cosine.push_back(0.5f);
            outputs.orthogonal.push_back(0.5f);
        }
        study->layers.push_back(gs::analyse_layer(std::move(routes), std::move(outputs), study->tokens, shuffles));
    }
    study->verdict = gs::judge(study->layers, study->trace.info().moe_layers, study->tokens);
    study->complete = complete;
    return study;
}

struct Stage : MeasuredStage<gs::ExpertStudy> {
    explicit Stage(std::shared_ptr<const gs::ExpertStudy> measured, ImVec2 size = {1100, 640}) : MeasuredStage(&gs::SessionState::study, std::move(measured), size) {}
};

TEST(ExpertPanels, SayWhatTheyWaitForAndOfferToStudy) {
    for (const auto make : {make_experts_view, make_expert_view}) {
        Stage stage(nullptr);
        const auto view = make();
        stage.frames(*view);
        EXPECT_TRUE(stage.says("No study yet")) << stage.text;
        EXPECT_TRUE(stage.says("Study the experts")) << stage.text;
        stage.state.activity = gs::Activity::kStudying;
        stage.frames(*view);
        EXPECT_TRUE(stage.says("Studying")) << stage.text;
        stage.state.activity = gs::Activity::kIdle;
        stage.state.model = nullptr;
        stage.frames(*view);
        EXPECT_TRUE(stage.says("needs a loaded model")) << stage.text;
        stage.state.model = std::make_shared<gs::ModelCard>();
        stage.frames(*view);
        EXPECT_TRUE(stage.says("A dense model")) << stage.text;
    }
}

TEST(ExpertPanels, DrawEveryStudyAtEverySizeInsideTheWindow) {
    const std::shared_ptr<gs::ExpertStudy> studies[] = {make_study(), make_study({.n_tokens = 60, .n_layers = 1}, false),
                                                        make_study({.n_tokens = 100, .n_layers = 48, .router = {.n_experts = 128, .n_used = 8, .score = gs::ScoreFn::kSoftmax}})};
    for (const ImVec2 size : {ImVec2(200, 120), ImVec2(420, 700), ImVec2(1280, 620)})
        for (const auto& study : studies)
            for (const auto make : {make_experts_view, make_expert_view, make_coactivation_view}) {
                Stage stage(study, size);
                const auto view = make();
                stage.frames(*view, 4);
                stage.expect_drawn_inside();
            }
}

TEST(ExpertPanels, TheVerdictAndItsFiguresAreThoseOfTheStudy) {
    const auto study = make_study();
    Stage stage(study);
    const auto view = make_experts_view();
    stage.frames(*view, 4);
    const std::string verdict = study->verdict.text();
    EXPECT_TRUE(stage.says(verdict.substr(0, verdict.find(".")))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{} tokens", study->tokens.n()))) << stage.text;
    const LabelTable table = label_table(*study, study->n_layers() / 2, LabelKind::kClass);
    EXPECT_TRUE(stage.says(fmt::format("{} of {} cells outside", cells_beyond_chance(table), table.labels.size() * 16))) << stage.text;
}

TEST(ExpertPanels, OneExpertShowsItsProfile) {
    const auto study = make_study();
    Stage stage(study, {1280, 1400});
    stage.selected.moe_layer = 2;
    stage.selected.expert = 5;
    const auto view = make_expert_view();
    stage.frames(*view, 4);
    const gs::ExpertProfile p = gs::expert_profile(*study, 2, 5);
    EXPECT_TRUE(stage.says(fmt::format("{} of {} tokens", p.n, p.n_tokens))) << stage.text;
    EXPECT_TRUE(stage.says("×" + format_number(p.domains[0].lift))) << stage.text;
    const gs::RankedFigure& reap = p.figures[6];
    EXPECT_EQ(reap.figure->name, std::string("REAP"));
    EXPECT_TRUE(stage.says(format_number(reap.value) + (reap.value > reap.chance.band.high ? " ▲" : reap.value < reap.chance.band.low ? " ▼" : ""))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{} to {}", format_number(reap.chance.band.low), format_number(reap.chance.band.high)))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("expert {}", p.partners[0].expert)));
    EXPECT_TRUE(stage.says(fmt::format("{} ids occur", p.ids_tested)));
    EXPECT_TRUE(stage.says("Nearest vocabulary"));
    auto words = std::make_shared<gs::RouterWords>();
    *words = {.model_hash = study->model_hash, .moe_layer = 2, .expert = 5, .nearest = {{7, " llama", 0.25}}, .n_vocabulary = 1000, .n_directions = 16, .random_mean = 0.1, .random_most = 0.2};
    stage.state.router_words = words;
    stage.frames(*view, 3);
    EXPECT_TRUE(stage.says("0.250 ▲")) << stage.text;
    stage.selected.expert = 6;
    stage.frames(*view, 3);
    EXPECT_FALSE(stage.says("0.250 ▲")) << "of another expert";
}

TEST(InspectorPanel, AMeanWeightStandsBesideThatOfARandomExpertUsedAsOften) {
    const gs::TraceSnapshot trace = make_trace({.n_tokens = 90});
    std::vector<float> all;
    double sum = 0;
    uint32_t n = 0;
    for (int t = 0; t < trace.n_tokens(); ++t)
        for (size_t slot = 0; slot < trace.ids(1, t).size(); ++slot) {
            all.push_back(trace.weights(1, t)[slot]);
            if (trace.ids(1, t)[slot] == 3) sum += static_cast<double>(all.back()), ++n;
        }
    ASSERT_GT(n, 0u);
    const gs::ChanceNull chance = gs::DrawnValues(all).mean_of(n);
    PanelStage stage(trace, {420, 1400});
    stage.selected = {5, 1, 3};
    const auto view = make_inspector_view();
    stage.frames(*view, 4);
    EXPECT_TRUE(stage.says(fmt::format("{} over {} tokens", format_number(sum / n), n))) << stage.text;
    EXPECT_TRUE(stage.says(fmt::format("{} ({}–{}): {}", format_number(chance.mean), format_number(chance.band.low), format_number(chance.band.high),
                                       chance.band.holds(sum / n) ? "inside" : sum / n > chance.mean ? "above" : "below")))
        << stage.text;
}

TEST(ExpertPanels, CoActivationOfARunNeedsNoStudy) {
    Stage stage(nullptr);
    const auto view = make_coactivation_view();
    stage.frames(*view, 4);
    RoutedSource source;
    source.set_run(stage.state.run->trace);
    const int middle = effective_pick(source.trace(), {}).moe_layer;
    const std::string caption = source.pair_table(middle, gs::PairMode::kAll).caption;
    EXPECT_TRUE(stage.says(caption.substr(0, caption.find(" %")))) << stage.text;
}

TEST(CoActivationData, FollowsItsSourceAndChoice) {
    const auto study = make_study();
    RoutedSource source;
    source.set_study(study);
    const gs::CoActivation expected = gs::co_activation(study->layers[1].routes, gs::PairMode::kAdjacent);
    const PairTable& table = source.pair_table(1, gs::PairMode::kAdjacent);
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) {
            const float value = table.value(i, j, false);
            EXPECT_TRUE(i == j ? std::isnan(value) : value == static_cast<float>(expected.share(i, j))) << i << " " << j;
        }
    const uint64_t before = table.revision;
    EXPECT_EQ(source.pair_table(1, gs::PairMode::kAdjacent).revision, before) << "kept";
    EXPECT_NE(source.pair_table(1, gs::PairMode::kAll).revision, before);
    EXPECT_EQ(source.flow_table(0, 2).title, "layer 0 → 2");
    EXPECT_EQ(source.repetition().curves[0].values.size(), 4u);
    EXPECT_DOUBLE_EQ(source.repetition().curves[0].values[3], 100 * study->layers[3].repetition.first);
    source.set_run(make_trace({.n_tokens = 30, .n_layers = 2}));
    EXPECT_FALSE(source.is_study());
    EXPECT_EQ(source.repetition().curves[0].values.size(), 2u);
}

TEST(ExpertsPicture, LiftHasItsMiddleAtNothing) {
    const auto study = make_study();
    const LabelTable table = label_table(*study, 0, LabelKind::kDomain);
    ASSERT_EQ(table.labels.size(), 2u);
    for (int e = 0; e < 16; ++e)
        for (int row = 0; row < 2; ++row) {
            const double lift = table.counts->lift(e, table.labels[static_cast<size_t>(row)]);
            const float expected = static_cast<float>(std::log2(lift));
            EXPECT_FLOAT_EQ(label_value(table, e, row, LabelQuantity::kLift), expected) << lift;
        }
    const ValueRange range = label_range(table, LabelQuantity::kLift);
    EXPECT_EQ(range.low, -range.high);
    const LayerCurve curve = information_curve(*study, LabelKind::kClass, false, 0);
    EXPECT_DOUBLE_EQ(curve.values[2], 100 * study->layers[2].word_class.share());
}

TEST(Window, FromTheStudyToOneExpertByMouse) {
    WindowStage stage({1280, 720});
    stage.live = true;
    stage.settings.study.max_tokens = 128;
    stage.session.load_model(std::filesystem::path(GATESCOPE_GOLDENS) / "models/mixtral/model.gguf");
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    stage.ui->raise("experts");
    stage.frames(6);
    constexpr const char* kPanel = "Experts###experts";
    ASSERT_TRUE(stage.is_drawn(kPanel));
    stage.click(kPanel, {"###study"});
    ASSERT_TRUE(stage.session.wait_idle(kLongest_seconds));
    stage.frames(6);
    const auto study = stage.session.latest()->study;
    ASSERT_NE(study, nullptr);
    EXPECT_TRUE(study->complete);
    EXPECT_EQ(study->texts.size(), 5u);
    ImGui::SetClipboardText("");
    stage.click(kPanel, {"###csv"});
    EXPECT_EQ(std::string(ImGui::GetClipboardText()), gs::specialization_csv(*study));
    constexpr const char* kOne = "One expert###expert";
    ImGui::SetWindowFocus(kOne);   // as a click on its tab does
    stage.frames(6);
    ASSERT_TRUE(stage.is_drawn(kOne));
    stage.click(kOne, {"layer", "###previous"});
    ASSERT_EQ(stage.ui->selected().moe_layer, study->n_layers() / 2 - 1) << "the arrow selects";
    ASSERT_GE(stage.ui->selected().expert, 0) << "and keeps the expert";
    stage.click(kOne, {"###csv"});
    EXPECT_EQ(std::string(ImGui::GetClipboardText()), gs::profile_csv(gs::expert_profile(*study, stage.ui->selected().moe_layer, stage.ui->selected().expert)));
}

TEST(Window, DroppedTextsJoinTheStudyWhereItIsInSightAndElseBecomeThePrompt) {
    const gs::test::TempDir dir;
    std::ofstream(dir / "law.txt") << "The contract binds both parties.";
    WindowStage stage({1280, 720});
    stage.live = true;
    stage.frames(6);
    stage.ui->open_path(dir / "law.txt");
    EXPECT_EQ(stage.settings.prompt, "The contract binds both parties.");
    EXPECT_TRUE(stage.settings.study.files.empty());
    stage.ui->raise("experts");
    stage.frames(6);
    stage.ui->open_path(dir / "law.txt");
    stage.ui->open_path(dir / "law.txt");
    EXPECT_EQ(stage.settings.study.files, (std::vector<std::string>{(dir / "law.txt").string()})) << "once";
    const auto request = request_of(stage.settings.study);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->texts.back().domain, "law");
    std::ofstream(dir / "empty.txt");
    stage.ui->open_path(dir / "empty.txt");
    EXPECT_EQ(stage.settings.study.files.size(), 1u);
    EXPECT_FALSE(stage.session.latest()->notices.empty()) << "said why";
    StudyChoice none = stage.settings.study;
    none.files.clear();
    none.left_out = {"code", "dialogue", "german", "math", "prose"};
    EXPECT_EQ(request_of(none).error().code, "no_texts");
}

}  // namespace
}  // namespace app::test
