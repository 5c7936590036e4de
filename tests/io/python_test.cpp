// A written trace opens in Python with the stock safetensors package. Needs an interpreter that has it: environment variable
// GATESCOPE_PYTHON (tests/run.sh sets it), packages of tests/io/requirements.txt. Skipped, visibly, where they are missing.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "engine/io/trace_file.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::string python() {
    const char* named = std::getenv("GATESCOPE_PYTHON");
    return named && *named ? named : "python3";
}

struct Output {
    int status = -1;
    std::string text;
};

Output run(const std::string& command) {
    Output out;
    FILE* pipe = popen((command + " 2>&1").c_str(), "r");
    if (!pipe) return out;
    std::array<char, 4096> buffer;
    while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) out.text.append(buffer.data(), n);
    out.status = pclose(pipe);
    return out;
}

TEST(PythonReader, OpensATraceWithTheStockPackage) {
    if (run(fmt::format("'{}' -c 'import numpy, safetensors.numpy'", python())).status != 0) {
        GTEST_SKIP() << python() << " has no safetensors and numpy: install tests/io/requirements.txt and set GATESCOPE_PYTHON";
    }
    const test::TempDir dir;
    const auto path = dir / "run.safetensors";
    const TraceSnapshot trace = test::make_trace({.n_tokens = 50, .n_layers = 4, .n_dense = 1, .policy = "k=6,k@2=1,temp=0.5,mask@3=1:2"});
    const Result<void> saved = save_trace(trace, path);
    ASSERT_TRUE(saved) << saved.error().message();
    const Output checked = run(fmt::format("'{}' '{}' '{}'", python(), test::source("tests/io/check_trace.py").string(), path.string()));
    EXPECT_EQ(checked.status, 0) << checked.text;
    EXPECT_NE(checked.text.find("tokens 50 layers 3 experts 16 prompt What is a llama?"), std::string::npos) << checked.text;
}

TEST(PythonReader, OpensTheTraceOfADenseModel) {
    if (run(fmt::format("'{}' -c 'import numpy, safetensors.numpy'", python())).status != 0) {
        GTEST_SKIP() << python() << " has no safetensors and numpy: install tests/io/requirements.txt and set GATESCOPE_PYTHON";
    }
    const test::TempDir dir;
    const auto path = dir / "dense.safetensors";
    ASSERT_TRUE(save_trace(test::make_trace({.n_tokens = 3, .n_layers = 2, .n_dense = 2, .router = {}}), path));
    const Output opened =
        run(fmt::format("'{}' -c 'import sys, safetensors.numpy as s; print(s.load_file(sys.argv[1])[\"router_logits\"].shape)' '{}'",
                        python(), path.string()));
    EXPECT_EQ(opened.status, 0);
    EXPECT_EQ(opened.text, "(3, 0, 0)\n");
}

}  // namespace
}  // namespace gs
