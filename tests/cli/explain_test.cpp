// ablate, cost and side-by-side from the command line.
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace {

TEST(AblateCommand, GivesTheEffectBesideControlsOfNearUsage) {
    const ProgramResult r = run_program({"ablate", "--domain", "prose", "--expert", "12:3", "--controls", "3", "--max-tokens", "30", "-n", "8", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["policy"], "zero@12=3");
    EXPECT_EQ(j["tokens"], 30);
    EXPECT_EQ(j["effect"]["tokens_scored"], 29);
    EXPECT_GE(j["effect"]["kl"].get<double>(), 0);
    ASSERT_EQ(j["controls"].size(), 3u);
    for (const auto& c : j["controls"]) {
        EXPECT_EQ(c["experts"][0]["layer"], 12);
        EXPECT_NE(c["experts"][0]["expert"], 3);
    }
    EXPECT_EQ(j["continuation"]["base_tokens"], 8);
    const auto again = run_program({"ablate", "--domain", "prose", "--expert", "12:3", "--controls", "3", "--max-tokens", "30", "-n", "0", "--json"}).json();
    EXPECT_EQ(again["effect"], j["effect"]);
    EXPECT_EQ(again["controls"], j["controls"]) << "the same seed";
}

TEST(AblateCommand, AsksForWhatItNeeds) {
    for (const std::vector<std::string>& bad : {std::vector<std::string>{"ablate", "--domain", "prose"}, {"ablate", "--domain", "prose", "--expert", "12"},
                                                {"ablate", "--domain", "prose", "--expert", "12:3", "--mode", "swap"}, {"ablate", "--domain", "prose", "--expert", "99:3"}})
        EXPECT_EQ(run_program(bad).exit_code, 2);
}

TEST(CostCommand, SaysWhatInfoSaysAndKeepsTheArticlesPrices) {
    const auto info = run_program({"info", "-c", "1000", "--json"}).json();
    const ProgramResult r = run_program({"cost", "-c", "1000", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["token"]["active_parameters"].get<double>(), info["active_parameters"].get<double>());
    EXPECT_EQ(j["token"]["total_parameters"].get<double>(), info["parameters"].get<double>());
    EXPECT_EQ(j["token"]["memory"].get<double>(), info["weight_bytes"].get<double>() + info["kv_bytes"].get<double>());
    EXPECT_EQ(j["dense_of_same_total"]["active_parameters"].get<double>(), info["parameters"].get<double>());
    bool found = false;
    for (const auto& sheet : j["sheets"]) {
        if (sheet["id"] != "llama-4-scout") continue;
        found = true;
        EXPECT_DOUBLE_EQ(sheet["prices"][0]["usd_low"].get<double>(), 0.11 + 0.34);
        EXPECT_NE(sheet["total_parameters"]["source"].get<std::string>().find("model card"), std::string::npos);
    }
    EXPECT_TRUE(found);
    const auto one = run_program({"cost", "-c", "1000", "--policy", "k=1", "--json"}).json();
    EXPECT_LT(one["token"]["active_parameters"].get<double>(), j["token"]["active_parameters"].get<double>());
}

TEST(SideBySideCommand, RunsAnyTwoModelsAndSaysWhereTokensDiffer) {
    EXPECT_EQ(run_program({"side-by-side", "-p", "Hello"}).exit_code, 2) << "nothing was downloaded";
    const std::string other = std::string(GATESCOPE_GOLDENS) + "/models/llama/model.gguf";
    const ProgramResult r = run_program({"side-by-side", "-p", "Hello", "--raw", "-n", "4", "--greedy", "--other", other, "--max-tokens", "40", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_FALSE(j["same_tokens"].get<bool>());
    EXPECT_FALSE(j["tokens_note"].get<std::string>().empty());
    EXPECT_GT(j["a"]["bits_per_byte"].get<double>(), 0);
    EXPECT_GT(j["a"]["tokens_per_s"].get<double>(), 0);
    EXPECT_EQ(j["b"]["experts"], 0);
}

}  // namespace
