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
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

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

template <class T>
std::string npy(const char* descr, std::vector<int64_t> shape, const std::vector<T>& values) {
    return write_npy(descr, shape, std::as_bytes(std::span(values)));
}

constexpr const char* kBigMoe =
    "# route_trace v1\n"
    "# model=/data/qwen3-30b.gguf arch=qwen3moe n_layer=3 n_expert=16 n_expert_used=2\n"
    "# layer=0 expert_bytes=0 dense_bytes=44191236\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped\n"
    "0,0,0,1,0,7,0.6,0,4336640,0\n0,0,0,1,1,3,0.4,1,0,0\n"
    "0,0,1,1,0,2,0.7,0,4336640,0\n0,0,1,1,1,9,0.3,1,0,1\n"
    "0,0,0,2,0,1,0.9,0,4336640,0\n0,0,0,2,1,0,0.1,1,0,0\n"
    "0,0,1,2,0,4,0.8,0,4336640,0\n0,0,1,2,1,5,0.2,1,0,0\n"
    "0,1,2,1,0,8,0.55,0,4336640,0\n0,1,2,1,1,9,0.45,1,0,0\n"
    "0,1,2,2,0,6,0.5,0,4336640,0\n0,1,2,2,1,7,0.5,1,0,0\n";

// Prompt of three tokens, k = 2, layers 1 to 3; llama.cpp computes the last layer for the last token only. Then two decoded tokens.
constexpr const char* kMoeTrace =
    "1,4\n1,2\n1,3\n1,5\n1,0\n1,1\n2,4\n2,2\n2,3\n2,5\n2,0\n2,6\n3,7\n3,2\n"
    "1,1\n1,2\n2,3\n2,4\n3,5\n3,6\n"
    "1,2\n1,1\n2,3\n2,5\n3,5\n3,0\n";

// The same run as the fork writes it: the last layer's one row counts as token 0 of the pass, though it is of the last.
constexpr const char* kRankedTrace =
    "phase,token,layer,rank,expert\n"
    "prefill,0,1,0,4\nprefill,0,1,1,2\nprefill,1,1,0,3\nprefill,1,1,1,5\nprefill,2,1,0,0\nprefill,2,1,1,1\n"
    "prefill,0,2,0,4\nprefill,0,2,1,2\nprefill,1,2,0,3\nprefill,1,2,1,5\nprefill,2,2,0,0\nprefill,2,2,1,6\n"
    "prefill,0,3,0,7\nprefill,0,3,1,2\n"
    "decode,3,1,0,1\ndecode,3,1,1,2\ndecode,3,2,0,3\ndecode,3,2,1,4\ndecode,3,3,0,5\ndecode,3,3,1,6\n";

// BigMoeOnEdge before it wrote `dropped`, and a fork that writes one column more; no weight in the graph.
constexpr const char* kBigMoeEarly =
    "# route_trace v1\n# model=m.gguf arch=qwen3moe n_layer=1 n_expert=8 n_expert_used=2\n# layer=0 expert_bytes=10 dense_bytes=0\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n0,0,0,0,0,7,nan,0,10\n0,0,0,0,1,3,nan,1,0\n";
constexpr const char* kBigMoeFork =
    "# route_trace v1\n# model=m.gguf arch=qwen3moe n_layer=1 n_expert=8 n_expert_used=2\n# layer=0 expert_bytes=10 dense_bytes=0\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped,media_kind\n0,1,0,0,0,7,0.625,0,10,1,0\n0,1,0,0,1,3,0.375,1,0,0,0\n";

constexpr const char* kRouteText = "0 0 1 3:0.6000 1:0.4000\n0 1 1 2:0.7000 0:0.3000\n1 0 2 5:0.5500 1:0.4500\n1 1 2 4:0.8000 3:0.2000\n2 0 1 3:0.5100 0:0.4900\n3 0 2 2:0.9000 1:0.1000\n";

constexpr const char* kOlmoe = "{\"input_ids\": [11, 12], \"predicted_token_ids\": [12, 13], \"exp_ids\": [[[4, 9], [1, 3]], [[2, 0], [7, 5]]]}\n{\"input_ids\": [21], \"exp_ids\": [[[1, 2], [3, 4]]]}\n";

constexpr const char* kEvents =
    "{\"layer\": 0, \"phase\": \"prefill\", \"token_index\": 0, \"expert_ids\": [3, 8], \"scores\": [0.25, 0.75], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 1, \"phase\": \"prefill\", \"token_index\": 0, \"expert_ids\": [1, 2], \"scores\": [0.5, 0.5], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 0, \"phase\": \"decode\", \"token_index\": 0, \"expert_ids\": [4, 8], \"scores\": [0.9, 0.1], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 1, \"phase\": \"decode\", \"token_index\": 0, \"expert_ids\": [0, 2], \"scores\": [0.6, 0.4], \"prompt_id\": \"a\"}\n";

// moe_logger.py of vLLM-MoE-Logger: a warm-up of dummy tokens, a pass of two tokens, a pass of one.
std::string vllm_log(int n_dummies) {
    std::string text = "{\"type\": \"meta\", \"model_id\": \"Qwen/Qwen1.5-MoE-A2.7B-Chat\", \"vllm_version\": \"0.11.2\", \"torch_version\": \"2.9.0+cu128\", \"device\": \"cuda\", \"seed\": 1234, "
                       "\"layers_logged\": [12], \"top_k\": 4, \"created_at\": 1764300671.38}\n";
    const auto row = [&](int token, const char* ids, const char* weights) {
        text += fmt::format("{{\"type\": \"route\", \"req_id\": \"r1\", \"token_idx\": {}, \"layer\": 12, \"topk_ids\": [{}], \"topk_weights\": [{}]}}\n", token, ids, weights);
    };
    for (int t = 0; t < n_dummies; ++t) row(t, "13, 15, 56, 34", t < n_dummies / 2 ? "0.09, 0.05, 0.04, 0.03" : "0.0901, 0.05, 0.04, 0.03");
    row(0, "4, 27, 58, 52", "0.25, 0.077, 0.066, 0.05");
    row(1, "53, 18, 24, 17", "0.3, 0.2, 0.1, 0.05");
    row(0, "58, 27, 39, 40", "0.4, 0.3, 0.2, 0.01");
    return text;
}

std::string base64(std::string_view bytes) {
    constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t at = 0; at < bytes.size(); at += 3) {
        uint32_t group = 0;
        for (size_t i = 0; i < 3; ++i) group = group << 8 | (at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0u);
        for (size_t i = 0; i < 4; ++i) out += at + i <= bytes.size() ? kDigits[group >> (18 - 6 * i) & 63] : '=';
    }
    return out;
}

// A prompt of two tokens and an answer of three: four rows; layer 0 is dense, layers 1 and 2 have k = 2.
constexpr int kAnswerIds[] = {0, 0, 5, 1, 2, 7, 0, 0, 3, 4, 1, 2, 0, 0, 6, 7, 7, 0, 0, 0, 1, 5, 3, 2};

std::string vllm_answer() {
    const std::vector<uint8_t> values(std::begin(kAnswerIds), std::end(kAnswerIds));
    return "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"Qwen/Qwen3-30B-A3B\",\"choices\":[{\"index\":0,\"text\":\" a b\",\"finish_reason\":\"length\",\"prompt_logprobs\":null,"
           "\"prompt_token_ids\":[11,12],\"token_ids\":[21,22,23],\"routed_experts\":\"" + base64(npy<uint8_t>("|u1", {4, 3, 2}, values)) +
           "\"}],\"usage\":{\"prompt_tokens\":2,\"total_tokens\":5,\"completion_tokens\":3}}";
}

std::string sglang_answer(bool openai = false) {
    const std::vector<int32_t> values(std::begin(kAnswerIds), std::end(kAnswerIds));
    const std::string experts = base64({reinterpret_cast<const char*>(values.data()), values.size() * 4});
    if (openai)
        return "{\"id\":\"1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a b\"}}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3},\"sglext\":{\"routed_experts\":\"" + experts + "\"}}";
    return "{\"text\":\" a b\",\"output_ids\":[21,22,23],\"meta_info\":{\"id\":\"1\",\"finish_reason\":{\"type\":\"length\",\"length\":3},\"prompt_tokens\":2,\"completion_tokens\":3,\"routed_experts\":\"" + experts + "\"}}";
}

std::string npz_file() {
    const std::vector<ZipEntry> entries = {{"routed_experts.npy", npy<int16_t>("<i2", {2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})},
                                           {"topk_weights.npy", npy<float>("<f4", {2, 2, 2}, {.6f, .4f, .7f, .3f, .8f, .2f, .9f, .1f})},
                                           {"token_ids.npy", npy<int64_t>("<i8", {2}, {42, 43})}};
    return write_zip(entries);
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
