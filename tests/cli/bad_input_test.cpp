// Bad input ends in one clear message and the documented exit code; stdout stays empty.
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace {

struct BadCase {
    const char* name;
    std::vector<std::string> arguments;
    int exit_code;
    const char* mentions;              ///< a word of the message that tells the user what was wrong
};

void PrintTo(const BadCase& c, std::ostream* out) { *out << c.name; }   // or the test's name holds its bytes

class BadInput : public testing::TestWithParam<BadCase> {};

TEST_P(BadInput, IsToldAndGivesItsExitCode) {
    const BadCase& c = GetParam();
    const ProgramResult r = run_program(c.arguments);
    EXPECT_EQ(r.exit_code, c.exit_code) << r.err;
    EXPECT_NE(r.err.find(c.mentions), std::string::npos) << r.err;
    EXPECT_TRUE(r.out.empty()) << r.out;
}

const std::string kGoldens = GATESCOPE_GOLDENS;

INSTANTIATE_TEST_SUITE_P(
    Cases, BadInput,
    testing::Values(BadCase{"unknown_option", {"run", "--wat"}, 2, "--wat"},
                    BadCase{"unknown_command", {"dance"}, 2, "dance"},
                    BadCase{"no_prompt", {"run"}, 2, "prompt"},
                    BadCase{"bad_policy", {"run", "--prompt", "x", "--policy", "k=banana"}, 2, "banana"},
                    BadCase{"k_out_of_range", {"run", "--prompt", "x", "--policy", "k=17"}, 2, "16"},
                    BadCase{"bad_sampler", {"run", "--prompt", "x", "--sampler", "temp=hot"}, 2, "hot"},
                    BadCase{"missing_model", {"run", "--prompt", "x", "-m", "/nowhere/m.gguf"}, 3, "/nowhere/m.gguf"},
                    BadCase{"truncated_model", {"info", kGoldens + "/bad/truncated-at-50.gguf"}, 3, "truncated-at-50.gguf"},
                    BadCase{"unknown_architecture", {"run", "--prompt", "x", "-m", kGoldens + "/bad/architecture-unknown.gguf"}, 3, "granitemoe"},
                    BadCase{"trace_that_is_none", {"trace", kGoldens + "/README.md"}, 3, "README.md"},
                    BadCase{"missing_prompt_file", {"run", "--prompt-file", "/nowhere.txt"}, 3, "/nowhere.txt"},
                    BadCase{"unknown_domain", {"sensitivity", "--domain", "poetry"}, 2, "prose"},
                    BadCase{"no_text_to_map", {"sensitivity"}, 2, "text"},
                    BadCase{"bad_k_list", {"sensitivity", "--domain", "code", "--ks", "1,17"}, 2, "17"},
                    BadCase{"bad_budget", {"schedule", "--domain", "code", "--budget", "speed=3"}, 2, "speed"},
                    BadCase{"no_budget", {"schedule", "--domain", "code"}, 2, "budget"},
                    BadCase{"budget_too_tight", {"schedule", "--domain", "code", "--max-tokens", "8", "--ks", "4", "--budget", "bytes=1MB"}, 2, "bytes per token"},
                    BadCase{"dense_model_to_map", {"sensitivity", "--domain", "code", "-m", kGoldens + "/models/llama/model.gguf"}, 3, "dense"},
                    BadCase{"text_without_name", {"specialize", "--text", "contract.txt"}, 2, "NAME=FILE"},
                    BadCase{"missing_own_text", {"specialize", "--text", "law=/nowhere.txt"}, 3, "/nowhere.txt"},
                    BadCase{"nothing_to_study", {"specialize", "--domains", "none"}, 2, "no text"},
                    BadCase{"unknown_sample", {"experts", "--domains", "poetry"}, 2, "prose"},
                    BadCase{"expert_without_layer", {"experts", "--expert", "3"}, 2, "layer"},
                    BadCase{"no_such_expert", {"experts", "--layer", "3", "--expert", "16"}, 2, "0 to 15"},
                    BadCase{"no_trace_to_read", {"coactivation", "/nowhere.safetensors"}, 3, "/nowhere.safetensors"},
                    BadCase{"not_a_golden", {"verify", "/proc"}, 3, "/proc"}),
    [](const auto& param) { return param.param.name; });

#ifdef GATESCOPE_HAVE_WINDOW
INSTANTIATE_TEST_SUITE_P(
    WindowCases, BadInput,
    testing::Values(BadCase{"missing_file", {"/nowhere/m.gguf"}, 3, "/nowhere/m.gguf"},
                    BadCase{"no_display", {}, 4, "display"},
                    BadCase{"bad_size", {"screenshot", "--out", "x.png", "--size", "12"}, 2, "WIDTHxHEIGHT"},
                    BadCase{"unknown_view", {"screenshot", "--out", "x.png", "--view", "sideways"}, 2, "heatmap"}),
    [](const auto& param) { return param.param.name; });

TEST(BadInputDevice, NoVulkanDriverIsTold) {
    const ProgramResult r = run_program({"screenshot", "--out", temporary_path("none.png")}, {"VK_ICD_FILENAMES=/nowhere.json", "VK_DRIVER_FILES=/nowhere.json"});
    EXPECT_EQ(r.exit_code, 4) << r.err;
    EXPECT_NE(r.err.find("Vulkan"), std::string::npos) << r.err;
}
#endif

TEST(BadInputMemory, AModelThatDoesNotFitIsTold) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "the sanitizer itself needs more address space";
#endif
    const ProgramResult r = run_program({"run", "--prompt", "x", "-n", "1"}, {}, 160u << 20);   // program and mapped model need more
    EXPECT_EQ(r.exit_code, 1) << r.err;
    EXPECT_NE(r.err.find("memory"), std::string::npos) << r.err;
    EXPECT_TRUE(r.out.empty()) << r.out;
}

TEST(BadInputFile, BinaryPromptIsRefusedInAFileAndRunAsAnArgument) {
    std::string bytes;
    for (int i = 1; i < 256; i++) bytes += static_cast<char>(i);
    const ProgramResult refused = run_program({"run", "--prompt-file", temporary_file("binary", bytes)});
    EXPECT_EQ(refused.exit_code, 3);
    EXPECT_NE(refused.err.find("not UTF-8"), std::string::npos) << refused.err;
    const ProgramResult r = run_program({"run", "--raw", "-n", "1", "--json", "--prompt", bytes});
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_TRUE(r.json().contains("text"));
}

TEST(BadInputFile, PromptOfTenMegabytesIsTooLongForTheContext) {
    const ProgramResult r = run_program({"run", "--prompt-file", temporary_file("long.txt", std::string(10 << 20, 'a'))});
    EXPECT_EQ(r.exit_code, 3);
    EXPECT_NE(r.err.find("context"), std::string::npos) << r.err;
}

TEST(BadInputFile, UnwritableTraceFileIsTold) {
    const std::string path = temporary_file("a-file", "kept") + "/below-a-file.safetensors";
    const ProgramResult r = run_program({"trace", "--prompt", "x", "-n", "1", "--out", path});
    EXPECT_EQ(r.exit_code, 1) << r.err;
    EXPECT_NE(r.err.find("below-a-file"), std::string::npos) << r.err;
}

}  // namespace
