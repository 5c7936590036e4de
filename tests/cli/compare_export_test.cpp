// Two recorded runs compared, runs of other programs imported, runs exported: by the program itself.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace {

std::string recorded(const std::string& name, const std::string& policy) {
    const std::string file = temporary_path(name);
    if (std::filesystem::exists(file)) return file;
    EXPECT_EQ(run_program({"trace", "--prompt", "What is a llama?", "-n", "8", "--greedy", "--policy", policy, "--out", file}).exit_code, 0);
    return file;
}

std::string content(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

TEST(CompareCommand, StatesWhatOneExpertLessChangesWithTheNulls) {
    const std::string a = recorded("native.safetensors", "native"), b = recorded("k3.safetensors", "k=3");
    const ProgramResult r = run_program({"compare", a, b, "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["paired_by"], "token ids");
    EXPECT_GT(j["pairs"].get<int>(), 8);
    EXPECT_NEAR(j["route_agreement_null"].get<double>(), 3.0 / 16, 1e-12);   // the smaller set over all experts
    EXPECT_LE(j["route_agreement"].get<double>(), 0.75 + 1e-12) << "three of four experts at most";
    EXPECT_GT(j["route_agreement"].get<double>(), 0.5);
    EXPECT_EQ(j["any_layer_flip_rate"], 1.0);
    EXPECT_EQ(j["first_divergence"]["token_a"], 0);
    EXPECT_EQ(j["first_divergence"]["layer"], 0);
    EXPECT_EQ(j["n_flips"].get<int>(), j["pairs"].get<int>() * 30);
    double last = INFINITY;
    for (const auto& flip : j["flips"]) {
        EXPECT_LE(flip["margin"].get<double>(), last);
        last = flip["margin"].get<double>();
    }
    EXPECT_GT(j["text"]["equal_share_of_words"].get<double>(), 0);
    EXPECT_NE(run_program({"compare", a, b}).out.find("route agreement"), std::string::npos);
    const std::string csv = run_program({"compare", a, b, "--flips-csv"}).out;
    EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), j["n_flips"].get<int>() + 1);
}

TEST(TraceCommand, DescribesARunOfAnotherProgramAndSaysWhatItLacks) {
    const std::string file = temporary_file("route.txt", "0 0 1 3:0.6000 1:0.4000\n0 1 1 2:0.7000 0:0.3000\n1 0 2 5:0.5500 1:0.4500\n1 1 2 4:0.8000 3:0.2000\n");
    const auto j = run_program({"trace", file, "--json"}).json();
    EXPECT_EQ(j["imported_from"], "ROUTE_TRACE text");
    EXPECT_EQ(j["tokens"], 2);
    EXPECT_NE(j["lacks"].get<std::string>().find("router logits"), std::string::npos);
    EXPECT_NE(run_program({"trace", "--help"}).out.find("BigMoeOnEdge CSV"), std::string::npos);
    const ProgramResult unknown = run_program({"trace", temporary_file("diary.txt", "dear diary\n")});
    EXPECT_EQ(unknown.exit_code, 3);
    EXPECT_NE(unknown.err.find("moe-trace CSV"), std::string::npos) << unknown.err;
}

TEST(ExportCommand, WritesEveryFormatAndReadsItsArraysBack) {
    const std::string run = recorded("native.safetensors", "native");
    for (const std::string format : {"csv", "json", "npz"}) {
        const std::string out = temporary_path("export." + format);
        const ProgramResult r = run_program({"export", run, "--out", out});
        ASSERT_EQ(r.exit_code, 0) << format << ": " << r.err;
        EXPECT_GT(std::filesystem::file_size(out), 1000u) << format;
    }
    const auto j = run_program({"compare", run, temporary_path("export.npz"), "--json"}).json();
    EXPECT_EQ(j["route_agreement"], 1.0);
    EXPECT_EQ(j["kl_nats"], 0.0);
    EXPECT_EQ(run_program({"export", run, "--out", temporary_path("x.docx")}).exit_code, 2);
}

TEST(ExportCommand, WritesAPageWithItsPictures) {
    const std::string run = recorded("native.safetensors", "native"), page = temporary_path("export.html");
    const ProgramResult r = run_program({"export", run, "--out", page});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    EXPECT_NE(content(page).find("What is a llama?"), std::string::npos);
    EXPECT_NE(content(page).find("src=\"data:image/png;base64,iVBORw0KGgo"), std::string::npos);
}

}  // namespace
