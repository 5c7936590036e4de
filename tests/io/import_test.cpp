// Files of other programs, as those programs write them.
#include "engine/io/import_trace.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/io/npy.h"
#include "engine/io/trace_file.h"
#include "engine/io/zip.h"
#include "tests/io/import_files.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using namespace test;

/// What the importers make of a text in a file of that name.
Result<TraceSnapshot> import(const std::string& name, const std::string& content) {
    const test::TempDir dir;
    test::write_bytes(dir / name, content);
    return open_trace(dir / name);
}

std::vector<int> ids(const TraceSnapshot& trace, int moe_layer, int token) {
    const auto of = trace.ids(moe_layer, token);
    return {of.begin(), of.end()};
}

TEST(Import, BigMoeOnEdgeCsv) {
    const auto trace = import("qwen.route.csv", kBigMoe);
    ASSERT_TRUE(trace) << trace.error().message();
    const TraceInfo& info = trace->info();
    EXPECT_EQ(info.source, "BigMoeOnEdge CSV");
    EXPECT_EQ(info.model_name, "qwen3-30b.gguf");
    EXPECT_EQ(info.architecture, "qwen3moe");
    EXPECT_EQ(trace->n_experts(), 16);
    EXPECT_EQ(info.moe_layers, (std::vector<int>{1, 2}));
    EXPECT_EQ(info.n_layers, 3);
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(ids(*trace, 0, 1), (std::vector<int>{2, 9}));
    EXPECT_FLOAT_EQ(trace->weights(1, 0)[0], 0.9f);
    EXPECT_EQ(trace->token(1).phase, Phase::kPrefill);
    EXPECT_EQ(trace->token(2).phase, Phase::kDecode);
    EXPECT_EQ(info.lacks, (TraceLacks{.logits = true, .token_ids = true, .text = true}));
    EXPECT_TRUE(std::isnan(trace->logits(0, 0)[3]));
    ASSERT_EQ(info.notes.size(), 1u);
    EXPECT_TRUE(info.notes[0].starts_with("1 choices were dropped")) << info.notes[0];
}

TEST(Import, MoeTraceCsvConcludesKAndPasses) {
    const auto trace = import("moe_trace.csv", kMoeTrace);
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_TRUE(trace->info().lacks.weights);
    EXPECT_TRUE(std::isnan(trace->weights(0, 0)[0]));
    ASSERT_EQ(trace->n_tokens(), 3);   // the last of the prompt, and the two decoded ones
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{0, 1}));
    EXPECT_EQ(ids(*trace, 2, 0), (std::vector<int>{7, 2}));
    EXPECT_EQ(ids(*trace, 1, 2), (std::vector<int>{3, 5}));
    EXPECT_EQ(trace->token(0).phase, Phase::kPrefill);
    EXPECT_EQ(trace->token(1).phase, Phase::kDecode);
    EXPECT_EQ(trace->n_experts(), 8);
    const std::string notes = fmt::format("{}", fmt::join(trace->info().notes, " "));
    EXPECT_NE(notes.find("k is not in the file: 2"), std::string::npos) << notes;
    EXPECT_NE(notes.find("2 of 5 tokens are left out"), std::string::npos) << notes;
    EXPECT_NE(notes.find("at least 8"), std::string::npos) << notes;
}

TEST(Import, MoeTraceCsvWithPhasesAndRanks) {
    const auto trace = import("moe_trace.csv", kRankedTrace);
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 2);   // the last of the prompt, and the decoded one
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{0, 1}));
    EXPECT_EQ(ids(*trace, 2, 0), (std::vector<int>{7, 2}));
    EXPECT_EQ(ids(*trace, 2, 1), (std::vector<int>{5, 6}));
    EXPECT_EQ(trace->token(0).phase, Phase::kPrefill);
    EXPECT_EQ(trace->token(1).phase, Phase::kDecode);
    EXPECT_EQ(fmt::format("{}", fmt::join(trace->info().notes, " ")).find("k is not in the file"), std::string::npos);
}

/// What the program of the pull request writes of 100 tokens, k = 6 of 32 experts, 6 layers: the first 600 ids of rankings that are 32 long; of the last
/// layer and of each decoded token 6 ids.
TEST(Import, MoeTraceCsvTakesChoicesFromRankingsOfAllExperts) {
    std::mt19937 random(3);
    constexpr int kTokens = 100, kUsed = 6, kExperts = 32, kLayers = 6, kDecoded = 3;
    std::vector<std::vector<int>> choices;   // [layer][token * k], as the model chose
    std::string csv;
    const auto ranking = [&] {
        std::vector<int> order(kExperts);
        for (int e = 0; e < kExperts; ++e) order[static_cast<size_t>(e)] = e;
        std::shuffle(order.begin(), order.end(), random);
        return order;
    };
    for (int layer = 0; layer < kLayers - 1; ++layer) {
        std::vector<int> memory, &chosen = choices.emplace_back();
        for (int t = 0; t < kTokens; ++t) {
            const std::vector<int> order = ranking();
            memory.insert(memory.end(), order.begin(), order.end());
            chosen.insert(chosen.end(), order.begin(), order.begin() + kUsed);
        }
        for (int i = 0; i < kTokens * kUsed; ++i) csv += fmt::format("{},{}\n", layer, memory[static_cast<size_t>(i)]);
    }
    const auto one = [&](int layer) {
        const std::vector<int> order = ranking();
        for (int j = 0; j < kUsed; ++j) csv += fmt::format("{},{}\n", layer, order[static_cast<size_t>(j)]);
    };
    one(kLayers - 1);
    for (int t = 0; t < kDecoded; ++t)
        for (int layer = 0; layer < kLayers; ++layer) one(layer);
    const auto trace = import("moe_trace.csv", csv);
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->n_experts(), kExperts);
    EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{0, 1, 2, 3, 4})) << "the last layer is there for the decoded ones only";
    constexpr int kTold = 1 + (kTokens * kUsed - kUsed) / kExperts;
    ASSERT_EQ(trace->n_tokens(), kTold + kDecoded);
    for (int layer = 0; layer < kLayers - 1; ++layer)
        for (int t = 0; t < kTold; ++t) {
            const auto from = choices[static_cast<size_t>(layer)].begin() + t * kUsed;
            EXPECT_EQ(ids(*trace, layer, t), std::vector<int>(from, from + kUsed)) << layer << " " << t;
        }
    EXPECT_EQ(trace->token(kTold).phase, Phase::kDecode);
    const std::string notes = fmt::format("{}", fmt::join(trace->info().notes, " "));
    EXPECT_NE(notes.find(fmt::format("{} tokens of the prompt are left out: moe-trace wrote the ranking", kTokens - kTold)), std::string::npos) << notes;
}

TEST(Import, BigMoeOnEdgeCsvWithFewerAndMoreColumns) {
    const auto early = import("a.csv", kBigMoeEarly), fork = import("b.csv", kBigMoeFork);
    ASSERT_TRUE(early) << early.error().message();
    ASSERT_TRUE(fork) << fork.error().message();
    EXPECT_TRUE(early->info().lacks.weights);
    EXPECT_EQ(ids(*early, 0, 0), (std::vector<int>{7, 3}));
    EXPECT_FLOAT_EQ(fork->weights(0, 0)[0], 0.625f);
    EXPECT_TRUE(fork->info().notes.at(0).starts_with("1 choices were dropped"));
}

TEST(Import, ALayerRecordedForFewTokensIsLeftOutRatherThanTheTokens) {
    std::string csv;
    for (int t = 0; t < 9; ++t) csv += "0,1\n0,2\n";      // a prompt of nine tokens at layer 0 …
    csv += "1,3\n1,4\n";                                  // … and its last one at layer 1
    csv += "0,5\n0,6\n1,7\n1,0\n";
    const auto trace = import("moe_trace.csv", csv);
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->n_tokens(), 10);
    EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{0}));
}

TEST(Import, RouteTraceText) {
    const auto trace = import("route.txt", kRouteText);
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{1, 2}));
    EXPECT_EQ(ids(*trace, 0, 1), (std::vector<int>{2, 0}));
    EXPECT_EQ(ids(*trace, 1, 2), (std::vector<int>{2, 1}));
    EXPECT_FLOAT_EQ(trace->weights(1, 1)[0], 0.8f);
    EXPECT_EQ(trace->token(2).phase, Phase::kDecode);
    EXPECT_FALSE(trace->info().lacks.weights);
}

TEST(Import, RoutedExpertsArraysWithFillersAndLayersWithoutExperts) {
    // Three tokens, layers 0 (dense: zeros) to 2, k = 2; the second token uses one expert only at layer 2.
    const std::vector<int32_t> values = {0, 0, 1, 2, 3, 4, 0, 0, 5, 6, 7, -1, 0, 0, 8, 9, 1, 0};
    const auto trace = import("experts.npy", npy<int32_t>("<i4", {3, 3, 2}, values));
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{1, 2}));
    EXPECT_EQ(ids(*trace, 1, 1), (std::vector<int>{7}));
    EXPECT_EQ(trace->info().lacks, (TraceLacks{true, true, true, true, true}));
}

TEST(Import, ATokenWhoseRowWasNeverRecordedIsLeftOut) {
    const auto trace = import("experts.npy", npy<int32_t>("<i4", {4, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 1, 0, 0, 0, 0, 8, 9, 1, 0}));
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(ids(*trace, 0, 2), (std::vector<int>{8, 9}));
}

TEST(Import, AnswersOfVllmAndSglangServers) {
    for (const std::string& answer : {vllm_answer(), sglang_answer(), sglang_answer(true), "[" + sglang_answer() + "," + sglang_answer() + "]"}) {
        const auto trace = import("answer.json", answer);
        ASSERT_TRUE(trace) << trace.error().message() << answer;
        ASSERT_EQ(trace->n_tokens(), 4);
        EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{1, 2}));
        EXPECT_EQ(trace->info().n_layers, 3);
        EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{5, 1}));
        EXPECT_EQ(ids(*trace, 1, 3), (std::vector<int>{3, 2}));
        EXPECT_EQ(trace->token(1).phase, Phase::kPrefill);
        EXPECT_EQ(trace->token(2).phase, Phase::kDecode);
    }
    const auto trace = import("answer.json", vllm_answer());
    EXPECT_EQ(trace->info().model_name, "Qwen/Qwen3-30B-A3B");
    EXPECT_EQ(trace->token(1).id, 12);
    EXPECT_EQ(trace->token(2).id, 21);
    EXPECT_TRUE(import("answer.json", sglang_answer())->info().lacks.token_ids);
}

TEST(Import, AnAnswerThatLeavesOutTheBeginningOfThePrompt) {
    std::string answer = vllm_answer();
    answer.replace(answer.find("[11,12]"), 7, "[9,11,12]");   // routed_experts_prompt_start: 1
    answer.replace(answer.find("\"prompt_tokens\":2"), 17, "\"prompt_tokens\":3");
    const auto trace = import("answer.json", answer);
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->token(0).id, 11);
    EXPECT_EQ(trace->token(1).phase, Phase::kPrefill);
    EXPECT_EQ(trace->token(2).phase, Phase::kDecode);
}

TEST(Import, NpzOfPromptAndGeneratedTokens) {
    const std::vector<ZipEntry> entries = {{"routed_experts.npy", npy<uint8_t>("|u1", {1, 2, 2}, {0, 1, 2, 3})}, {"prompt_routed_experts.npy", npy<uint8_t>("|u1", {2, 2, 2}, {4, 5, 6, 7, 1, 2, 3, 4})}};
    const auto trace = import("out.npz", write_zip(entries));
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{4, 5}));
    EXPECT_EQ(trace->token(1).phase, Phase::kPrefill);
    EXPECT_EQ(trace->token(2).phase, Phase::kDecode);
}

TEST(Import, NpzWithWeightsAndTokenIds) {
    const auto trace = import("out.npz", npz_file());
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->token(1).id, 43);
    EXPECT_FALSE(trace->info().lacks.token_ids);
    EXPECT_FLOAT_EQ(trace->weights(1, 1)[0], 0.9f);
}

TEST(Import, OlmoeJsonLines) {
    const auto trace = import("c4_results.jsonl", kOlmoe);
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(trace->token(1).id, 12);
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{4, 1}));   // [tokens][k][layers]
    EXPECT_EQ(ids(*trace, 1, 0), (std::vector<int>{9, 3}));
    EXPECT_EQ(ids(*trace, 1, 1), (std::vector<int>{0, 5}));
    EXPECT_TRUE(trace->info().lacks.weights);
}

TEST(Import, RoutingEventsAreOrderedByTheirWeights) {
    const auto trace = import("events.jsonl", kEvents);
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 2);
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{8, 3}));
    EXPECT_FLOAT_EQ(trace->weights(0, 0)[0], 0.75f);
    EXPECT_EQ(trace->token(1).phase, Phase::kDecode);
}

TEST(Import, RoutingEventsOfVllmBeginWithAMetaLineAndNumberTokensAnewInEveryPass) {
    const auto trace = import("moe_layer12.jsonl", vllm_log(0));
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_EQ(trace->info().model_name, "Qwen/Qwen1.5-MoE-A2.7B-Chat");
    EXPECT_EQ(trace->info().moe_layers, (std::vector<int>{12}));
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{4, 27, 58, 52}));
    EXPECT_EQ(ids(*trace, 0, 2), (std::vector<int>{58, 27, 39, 40}));
    EXPECT_FLOAT_EQ(trace->weights(0, 2)[3], 0.01f);
    EXPECT_TRUE(trace->info().lacks.phases);
}

TEST(Import, RoutingEventsOfVllmsWarmUpAreLeftOut) {
    const auto trace = import("moe_layer12.jsonl", vllm_log(256));
    ASSERT_TRUE(trace) << trace.error().message();
    ASSERT_EQ(trace->n_tokens(), 3);
    EXPECT_EQ(ids(*trace, 0, 0), (std::vector<int>{4, 27, 58, 52}));
    EXPECT_NE(fmt::format("{}", fmt::join(trace->info().notes, " ")).find("The first 256 rows are left out"), std::string::npos);
    EXPECT_EQ(import("moe_layer12.jsonl", vllm_log(5))->n_tokens(), 8) << "so few can be a text";
}

TEST(Import, WhatIsLackingSurvivesATraceFile) {
    const test::TempDir dir;
    for (const char* content : {kMoeTrace, kBigMoe}) {
        const auto trace = import("x.csv", content);
        ASSERT_TRUE(trace) << trace.error().message();
        ASSERT_TRUE(save_trace(*trace, dir / "x.safetensors"));
        const auto again = open_trace(dir / "x.safetensors");
        ASSERT_TRUE(again) << again.error().message();
        EXPECT_EQ(again->info().lacks, trace->info().lacks);
        EXPECT_EQ(again->info().notes, trace->info().notes);
        EXPECT_EQ(again->info().source, trace->info().source);
        EXPECT_EQ(ids(*again, 1, 2), ids(*trace, 1, 2));
    }
}

TEST(Import, RefusesWithTheReason) {
    const auto code = [](const std::string& name, const std::string& content) {
        const auto trace = import(name, content);
        return trace ? std::string("read") : trace.error().code;
    };
    EXPECT_EQ(code("notes.txt", "dear diary\n"), "unknown_trace");
    EXPECT_EQ(code("x.csv", "layer,expert\n1,a\n"), "bad_value");
    EXPECT_EQ(code("x.csv", "layer,expert\n"), "no_routes");
    EXPECT_EQ(code("x.csv", "layer,expert\n1,5000\n"), "bad_value");
    EXPECT_EQ(code("x.txt", "0 0 1 3:0.5 3:0.5\n1 0 2 1:1\n"), "bad_value");     // an expert twice
    EXPECT_EQ(code("x.npy", npy<float>("<f4", {1, 1, 1}, {1.0f})), "shape_mismatch");
    EXPECT_EQ(code("x.npy", npy<int32_t>("<i4", {2, 2}, {1, 2, 3, 4})), "shape_mismatch");
    EXPECT_EQ(code("x.npy", npy<int32_t>("<i4", {8}, {1, 2, 3, 4, 5, 6, 7, 8})), "shape_mismatch");   // SGLang's int32, not reshaped
    EXPECT_EQ(code("x.pt", write_zip(std::vector<ZipEntry>{{"archive/data.pkl", "\x80\x02."}, {"archive/data/0", "1234"}})), "unsupported");
    EXPECT_EQ(code("x.json", "{\"choices\": [{\"text\": \"a\", \"routed_experts\": null}]}"), "no_routes");
    EXPECT_EQ(code("x.json", "{\"choices\": [{\"routed_experts\": \"%%\"}]}"), "bad_value");
    EXPECT_EQ(code("x.json", "{\"choices\": [{\"routed_experts\": \"AAAA\"}]}"), "shape_mismatch");
    EXPECT_EQ(code("x.json", "{\"choices\": ["), "bad_value");
    EXPECT_EQ(code("x.csv", "phase,token,layer,rank,expert\nprefill,0,1,0\n"), "bad_value");
    EXPECT_EQ(code("x.csv", "phase,token,layer,rank,expert\nprefill,0,1,0,3\nprefill,0,1,1,2\nprefill,1,1,0,3\n"), "bad_value");
    EXPECT_EQ(code("x.csv", "1,5\n1,-3\n"), "bad_value");
    EXPECT_EQ(code("x.npy", npy<int32_t>("<i4", {4, 4, 4}, {1, 2, 3, 4})), "truncated");
    EXPECT_EQ(code("x.npz", npz_file().substr(0, 200)), "bad_magic");
    EXPECT_EQ(code("x.jsonl", "{\"layer\": 0, \"expert_ids\": [1]}\n"), "bad_value");
    EXPECT_EQ(code("x.jsonl", "{\"input_ids\": [1], \"exp_ids\": [[[[[[[1]]]]]]]}\n"), "bad_value");
    EXPECT_FALSE(open_trace("/nowhere/x.csv"));
}

TEST(Import, DamagedFilesAreRefusedOrKeepThePromisesOfATrace) {
    std::mt19937 random(5);
    const std::vector<std::pair<std::string, std::string>> seeds = {{"a.csv", kBigMoe}, {"b.csv", kMoeTrace}, {"c.txt", kRouteText}, {"d.jsonl", kOlmoe}, {"e.jsonl", kEvents},
                                                                    {"f.npy", npy<int16_t>("<i2", {2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})}, {"g.npz", npz_file()}, {"h.csv", kRankedTrace}, {"i.csv", kBigMoeFork}, {"j.jsonl", vllm_log(2)}, {"k.json", vllm_answer()}, {"l.json", sglang_answer()}};
    const test::TempDir dir;
    for (int round = 0; round < 4800; ++round) {
        auto [name, content] = seeds[static_cast<size_t>(round) % seeds.size()];
        for (uint32_t n = 1 + random() % 4; n > 0; --n) {
            const size_t at = random() % content.size();
            switch (random() % 4) {
                case 0: content[at] = static_cast<char>(random()); break;
                case 1: content.erase(at, random() % 8); break;
                case 2: content.insert(at, content.substr(random() % content.size(), random() % 12)); break;
                default: content[at] = "0123456789-,:. \n"[random() % 16]; break;
            }
            if (content.empty()) content = "x";
        }
        test::write_bytes(dir / name, content);
        const auto trace = open_trace(dir / name);
        if (!trace) {
            EXPECT_FALSE(trace.error().why.empty());
            continue;
        }
        ASSERT_GT(trace->n_tokens(), 0);
        for (int m = 0; m < trace->n_moe_layers(); ++m)
            for (int t = 0; t < trace->n_tokens(); ++t) {
                const std::vector<int> of = ids(*trace, m, t);
                ASSERT_EQ(std::set<int>(of.begin(), of.end()).size(), of.size());
                ASSERT_FALSE(of.empty());
                ASSERT_LT(*std::max_element(of.begin(), of.end()), trace->n_experts());
            }
    }
}

TEST(Zip, GivesBackWhatWasWrittenAndChecksSums) {
    const std::vector<ZipEntry> entries = {{"a.npy", "hello"}, {"b/c.npy", std::string(1000, 'x')}, {"empty", ""}};
    std::string file = write_zip(entries);
    const auto read = read_zip(std::as_bytes(std::span(file)));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->size(), 3u);
    EXPECT_EQ(read->at("b/c.npy"), entries[1].content);
    file[file.find("hello")] = 'j';
    EXPECT_EQ(read_zip(std::as_bytes(std::span(file))).error().code, "bad_value");
    EXPECT_EQ(read_zip(std::as_bytes(std::span(file)), 100).error().code, "bad_value");
    file[file.find("jello")] = 'h';
    EXPECT_EQ(read_zip(std::as_bytes(std::span(file)), 100).error().code, "too_large");
}

}  // namespace
}  // namespace gs
