// Every seed once through its fuzz target, so that what a fuzzer has found stays fixed; under the sanitizers in the preset sanitize.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/io/trace_file.h"
#include "engine/model/model.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/seeds.h"
#include "tests/support/paths.h"

namespace gs::test {
namespace {

using Target = int (*)(const uint8_t* data, size_t size);

/// A copy of its own size: a read past the end is seen.
void run(Target target, const std::string& bytes) {
    const std::vector<uint8_t> data(bytes.begin(), bytes.end());
    EXPECT_EQ(target(data.data(), data.size()), 0);
}

void run_folder(Target target, const std::filesystem::path& folder) {
    ASSERT_FALSE(names_in(folder).empty()) << folder;
    for (const std::string& name : names_in(folder)) {
        SCOPED_TRACE(name);
        run(target, read_bytes(folder / name));
    }
}

void run_seeds(Target target, const std::vector<Seed>& seeds) {
    for (const Seed& seed : seeds) {
        SCOPED_TRACE(seed.name);
        run(target, seed.bytes);
    }
}

/// What is stored for a target; one whose seeds are all built has no folder until something is found.
void run_stored(Target target, const char* name) {
    const std::filesystem::path folder = source(std::string("tests/fuzz/seeds/") + name);
    if (std::filesystem::exists(folder)) run_folder(target, folder);
}

TEST(FuzzSeeds, Gguf) {
    run_stored(fuzz_gguf, "gguf");
    run_folder(fuzz_gguf, golden("bad"));
    run_seeds(fuzz_gguf, family_seeds());
}

TEST(FuzzSeeds, Tokenizer) { run_folder(fuzz_tokenizer, source("tests/fuzz/seeds/tokenizer")); }
TEST(FuzzSeeds, Chat) { run_folder(fuzz_chat, source("tests/fuzz/seeds/chat")); }
TEST(FuzzSeeds, Policy) { run_folder(fuzz_policy, source("tests/fuzz/seeds/policy")); }

TEST(FuzzSeeds, Trace) {
    run_stored(fuzz_trace, "trace");
    run_seeds(fuzz_trace, trace_seeds());
}

TEST(FuzzSeeds, Decode) {
    run_stored(fuzz_decode, "decode");
    run_folder(fuzz_decode, golden("bad"));
    run_seeds(fuzz_decode, family_seeds());
}

/// A fuzzer that starts from models that do not load would never see a decoder.
TEST(FuzzSeeds, TheModelsOfTheFamiliesLoad) {
    const TempDir dir;
    for (const Seed& seed : family_seeds()) {
        write_bytes(dir / seed.name, seed.bytes + std::string(64 << 10, '\0'));
        const auto model = Model::load(dir / seed.name, {.n_ctx = 8});
        EXPECT_EQ(static_cast<bool>(model), seed.name != "family-mixed-queries") << seed.name << (model ? "" : ": " + model.error().message());
    }
}

/// And one that starts from traces that do not load would see little of their reader.
TEST(FuzzSeeds, TheTracesLoad) {
    const TempDir dir;
    for (const Seed& seed : trace_seeds()) {
        if (seed.bytes.starts_with("{")) continue;   // a description for the target alone
        write_bytes(dir / seed.name, seed.bytes);
        const auto trace = load_trace(dir / seed.name);
        EXPECT_TRUE(trace) << seed.name << ": " << trace.error().message();
    }
}

TEST(FuzzSeeds, EmptyInput) {
    for (const Target target : {fuzz_gguf, fuzz_tokenizer, fuzz_chat, fuzz_trace, fuzz_policy, fuzz_decode}) run(target, "");
}

}  // namespace
}  // namespace gs::test
