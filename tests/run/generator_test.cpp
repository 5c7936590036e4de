#include "engine/run/generator.h"

#include <cmath>

#include "engine/decode/chat_template.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

RunRequest request(const std::string& prompt, int n = 8, const std::string& policy_text = "native") {
    return {.prompt = prompt, .mode = PromptMode::kRaw, .max_new_tokens = n, .sampler = {.temperature = 0}, .policy = policy(policy_text)};
}

RunResult run_to_end(Decoder& decoder, const RunRequest& r, bool capture = true) {
    auto generator = Generator::start(decoder, r, 1, capture);
    EXPECT_TRUE(generator) << (generator ? "" : generator.error().message());
    if (!generator) return {};
    while (!(*generator)->done()) EXPECT_TRUE((*generator)->step());
    return (*generator)->result();
}

std::vector<int32_t> ids_of(const TraceSnapshot& trace) {
    std::vector<int32_t> ids;
    for (int t = 0; t < trace.n_tokens(); ++t) ids.push_back(trace.token(t).id);
    return ids;
}

TEST(Generator, GivesWhatADecoderLoopGives) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model);
    const RunResult run = run_to_end(*decoder, request("Hello World", 6));
    std::vector<int32_t> ids = model->tokenizer->encode("Hello World", SpecialTokens::kAsText);
    model->tokenizer->add_bos(ids);
    EXPECT_EQ(run.n_prompt_tokens, static_cast<int>(ids.size()));
    const auto by_hand = make_decoder(model);
    ASSERT_TRUE(by_hand->forward(ids, 0, LogitRows::kAll));
    std::vector<float> logits(by_hand->logits(static_cast<int>(ids.size()) - 1).begin(), by_hand->logits(static_cast<int>(ids.size()) - 1).end());
    std::string text;
    for (int i = 0; i < 6; ++i) {
        const int32_t id = Sampler({.temperature = 0}).sample(logits, {});
        if (model->tokenizer->is_end(id)) break;
        text += model->tokenizer->piece(id, false);
        ASSERT_TRUE(by_hand->forward({&id, 1}, static_cast<int>(ids.size()), LogitRows::kLast));
        ids.push_back(id);
        logits.assign(by_hand->logits(0).begin(), by_hand->logits(0).end());
    }
    EXPECT_EQ(ids_of(run.trace), ids);
    EXPECT_EQ(run.text, text);
    EXPECT_EQ(run.phase, RunPhase::kFinished);
}

TEST(Generator, RecordsWhatWasRun) {
    const auto model = golden_model("granitemoe");
    const auto decoder = make_decoder(model);
    const RunResult run = run_to_end(*decoder, request("What is a llama?", 5));
    const TraceSnapshot& trace = run.trace;
    EXPECT_EQ(run.timings.prefill_tokens, run.n_prompt_tokens);
    EXPECT_EQ(trace.n_tokens(), run.n_prompt_tokens + run.timings.decode_tokens);
    EXPECT_EQ(trace.info().model_hash, model->hash);
    EXPECT_EQ(trace.info().prompt, "What is a llama?");
    EXPECT_EQ(trace.info().template_name, "raw");
    EXPECT_EQ(trace.info().sampler, "greedy");
    EXPECT_EQ(trace.info().precision, "exact");
    for (int t = 0; t < trace.n_tokens(); ++t) {
        EXPECT_EQ(trace.token(t).phase, t < run.n_prompt_tokens ? Phase::kPrefill : Phase::kDecode);
        EXPECT_EQ(trace.token(t).text, model->tokenizer->piece(trace.token(t).id, true));
        for (int m = 0; m < trace.n_moe_layers(); ++m) EXPECT_EQ(trace.ids(m, t).size(), 3u);
    }
    const double moe_layers = static_cast<double>(model->spec.moe_layers.size());
    EXPECT_DOUBLE_EQ(run.bytes_per_token, static_cast<double>(model->dense_bytes_per_token) + 3 * moe_layers * static_cast<double>(model->expert_bytes));
    EXPECT_DOUBLE_EQ(run.bytes_per_token, bytes_per_token(trace.info(), 3));
}

TEST(Generator, ScoresEveryTokenUnderTheDistributionBeforeIt) {
    const auto model = golden_model("olmoe");
    const auto decoder = make_decoder(model);
    const RunResult run = run_to_end(*decoder, request("The router picks 2 of 8 experts.", 4));
    const std::vector<int32_t> ids = ids_of(run.trace);
    EXPECT_TRUE(std::isnan(run.trace.token(0).logprob));
    EXPECT_TRUE(std::isnan(run.trace.token(0).entropy));
    const Pass pass = run_pass(*decoder, ids);
    const auto n_vocab = static_cast<size_t>(model->spec.n_vocab);
    for (size_t t = 1; t < ids.size(); ++t) {
        const TokenStats expected = token_stats(std::span<const float>(pass.logits).subspan((t - 1) * n_vocab, n_vocab), ids[t]);
        // Single steps round differently from a batch: logits by about 1e-4.
        EXPECT_NEAR(run.trace.token(static_cast<int>(t)).logprob, expected.logprob, 1e-3) << t;
        EXPECT_NEAR(run.trace.token(static_cast<int>(t)).entropy, expected.entropy, 1e-3) << t;
    }
}

TEST(Generator, TheSameSeedGivesTheSameTextWithAndWithoutTrace) {
    const auto decoder = make_decoder(golden_model("qwen2moe"));
    RunRequest r = request("Hello", 12);
    r.sampler = {.temperature = 1, .seed = 5};
    const RunResult first = run_to_end(*decoder, r), second = run_to_end(*decoder, r), untraced = run_to_end(*decoder, r, false);
    EXPECT_EQ(first.text, second.text);
    EXPECT_EQ(first.text, untraced.text);
    EXPECT_TRUE(untraced.trace.empty());
    EXPECT_EQ(untraced.timings.decode_tokens, first.timings.decode_tokens);
    EXPECT_DOUBLE_EQ(untraced.bytes_per_token, first.bytes_per_token);
    r.sampler.seed = 6;
    EXPECT_NE(run_to_end(*decoder, r).text, first.text);
}

TEST(Generator, TakesANewPolicyBetweenTwoTokens) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    const std::vector<int32_t> native = ids_of(run_to_end(*decoder, request("Hello World", 8)).trace);
    auto generator = Generator::start(*decoder, request("Hello World", 8), 1);
    ASSERT_TRUE(generator);
    while ((*generator)->result().timings.decode_tokens < 3) ASSERT_TRUE((*generator)->step());
    const int changed_at = (*generator)->result().trace.n_tokens();
    EXPECT_FALSE((*generator)->set_policy(policy("k=99")));
    ASSERT_TRUE((*generator)->set_policy(policy("soft")));
    while (!(*generator)->done()) ASSERT_TRUE((*generator)->step());
    const TraceSnapshot trace = (*generator)->result().trace;
    for (int t = 0; t < trace.n_tokens(); ++t) {
        EXPECT_EQ(trace.policy(t).to_text(), t < changed_at ? "native" : "soft");
        EXPECT_EQ(trace.ids(0, t).size(), t < changed_at ? 2u : 8u);
        if (t <= changed_at) {
            EXPECT_EQ(trace.token(t).id, native[static_cast<size_t>(t)]) << "chosen from logits of before";
        }
    }
}

TEST(Generator, ACancelledStepLeavesTheRunAsItWas) {
    const auto decoder = make_decoder(golden_model("granitemoe"));
    RunRequest r = request("What is a llama?", 10);
    r.sampler = {.temperature = 1, .seed = 3};
    const RunResult undisturbed = run_to_end(*decoder, r);
    auto generator = Generator::start(*decoder, r, 1);
    ASSERT_TRUE(generator);
    CancelFlag cancelled;
    cancelled.set();
    while (!(*generator)->done()) {
        const int before = (*generator)->result().trace.n_tokens();
        const Result<void> step = (*generator)->step(&cancelled);
        if (!step) {
            EXPECT_EQ(step.error().kind, ErrorKind::kCancelled);
            EXPECT_EQ((*generator)->result().trace.n_tokens(), before);
            EXPECT_FALSE((*generator)->done());
        }
        ASSERT_TRUE((*generator)->step());
    }
    EXPECT_EQ((*generator)->result().text, undisturbed.text);
    EXPECT_EQ(ids_of((*generator)->result().trace), ids_of(undisturbed.trace));
}

TEST(Generator, StopsForEachReason) {
    const auto model = golden_model("mixtral");
    const auto decoder = make_decoder(model, {.n_ctx = 16});
    EXPECT_EQ(run_to_end(*decoder, request("Hello", 0)).stop, StopReason::kLength);
    EXPECT_EQ(run_to_end(*decoder, request("Hello", 0)).timings.decode_tokens, 0);
    const RunResult full = run_to_end(*decoder, request("Hello", 1000));
    EXPECT_TRUE(full.stop == StopReason::kContextFull || full.stop == StopReason::kEndOfText);
    if (full.stop == StopReason::kContextFull) {
        EXPECT_EQ(full.trace.n_tokens(), 16);
    }
    auto generator = Generator::start(*decoder, request("Hello", 5), 1);
    ASSERT_TRUE(generator);
    ASSERT_TRUE((*generator)->step());
    (*generator)->set_paused(true);
    EXPECT_EQ((*generator)->result().phase, RunPhase::kPaused);
    (*generator)->stop(StopReason::kStopped);
    EXPECT_EQ((*generator)->result().phase, RunPhase::kFinished);
    ASSERT_TRUE((*generator)->step()) << "a step after the end does nothing";
    EXPECT_STREQ(name_of((*generator)->result().stop), "stopped");
}

TEST(Generator, EndsWithTheTextOfAnEndToken) {
    // Force the end: an id of the end set gets all the probability when every other token is penalised away.
    const auto model = bundled_model();
    const auto decoder = make_decoder(model, {.n_ctx = 128}, make_cpu_ops({.n_threads = 2}));
    RunRequest r = request("What is 7 times 8?", 60);
    r.mode = PromptMode::kChat;
    const RunResult run = run_to_end(*decoder, r);
    EXPECT_EQ(run.trace.info().template_name, detect_chat_format(model->chat_template).name);
    EXPECT_NE(run.trace.info().template_name, "raw");
    EXPECT_TRUE(run.trace.token(0).special) << "<|im_start|>";
    if (run.stop == StopReason::kEndOfText) {
        EXPECT_LT(run.timings.decode_tokens, 60);
    }
    EXPECT_FALSE(run.text.empty());
    EXPECT_EQ(run.text.find("<|im_end|>"), std::string::npos);
}

TEST(GeneratorPrompt, RefusesAnEmptyOne) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    for (const PromptMode mode : {PromptMode::kRaw, PromptMode::kChat}) {
        RunRequest r = request("");
        r.mode = mode;
        const auto generator = Generator::start(*decoder, r, 1);
        ASSERT_FALSE(generator);
        EXPECT_EQ(generator.error().code, "empty_prompt");
        EXPECT_EQ(generator.error().kind, ErrorKind::kUsage);
    }
}

TEST(GeneratorPrompt, RefusesTenMegabytesWithBothLengths) {
    for (const auto& model : {bundled_model(), golden_model("mixtral")}) {
        const auto decoder = make_decoder(model, {.n_ctx = 64});
        for (const std::string& prompt : {std::string(10 << 20, 'a'), std::string(10 << 20, ' '), std::string(10 << 20, '\xff'), std::string(10 << 20, '\0')}) {
            const auto generator = Generator::start(*decoder, request(prompt), 1);
            ASSERT_FALSE(generator);
            EXPECT_EQ(generator.error().code, "prompt_too_long");
            EXPECT_EQ(generator.error().kind, ErrorKind::kInput);
            EXPECT_NE(generator.error().why.find("64"), std::string::npos);
        }
    }
    const auto decoder = make_decoder(golden_model("mixtral"), {.n_ctx = 8});
    const auto generator = Generator::start(*decoder, request("Somewhat longer than eight tokens of a small vocabulary"), 1);
    ASSERT_FALSE(generator);
    EXPECT_EQ(generator.error().code, "prompt_too_long");
}

TEST(GeneratorPrompt, RunsAnyBytes) {
    for (const char* name : {"mixtral", "granitemoe"}) {
        const auto decoder = make_decoder(golden_model(name));
        for (const std::string& prompt : {std::string("\xff\xfe\x80"), std::string("a\0b", 3), std::string("\n"), std::string("caf\xc3"), std::string("🦙")}) {
            const RunResult run = run_to_end(*decoder, request(prompt, 2));
            EXPECT_GE(run.trace.n_tokens(), 1);
            EXPECT_EQ(run.request.prompt, prompt);
        }
    }
}

TEST(GeneratorPrompt, RefusesAPolicyThatDoesNotFit) {
    const auto moe = make_decoder(golden_model("mixtral")), dense = make_decoder(golden_model("llama"));
    for (const char* text : {"k=9", "mask@0=8", "k@7=1"}) {
        const auto generator = Generator::start(*moe, request("Hello", 1, text), 1);
        ASSERT_FALSE(generator) << text;
        EXPECT_EQ(generator.error().code, "bad_policy");
    }
    EXPECT_FALSE(Generator::start(*dense, request("Hello", 1, "k=1"), 1));
    EXPECT_EQ(run_to_end(*dense, request("Hello", 3)).trace.n_moe_layers(), 0) << "a dense model runs without routing";
}

TEST(ModelCard, DescribesTheLoadedModel) {
    const auto model = bundled_model();
    const auto decoder = make_decoder(model, {.n_ctx = 64});
    const ModelCard card = make_model_card(*decoder);
    EXPECT_EQ(card.hash, model->hash);
    EXPECT_EQ(card.n_ctx, 64);
    EXPECT_EQ(card.kv_bytes, decoder->kv_bytes());
    EXPECT_GT(card.total_params, card.active_params);
    EXPECT_EQ(card.precision, "exact");
    EXPECT_EQ(card.engine, decoder->ops().name());
}

}  // namespace
}  // namespace gs
