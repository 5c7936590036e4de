#include "engine/io/trace_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "engine/routing/what_if.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

using nlohmann::json;
using test::make_trace;
using test::TempDir;

void expect_round_trip(const TraceSnapshot& trace, const std::string& name) {
    const TempDir dir;
    const Result<void> saved = save_trace(trace, dir / "a");
    ASSERT_TRUE(saved) << name << ": " << saved.error().message();
    const Result<TraceSnapshot> loaded = load_trace(dir / "a");
    ASSERT_TRUE(loaded) << name << ": " << loaded.error().message();
    std::string why;
    EXPECT_TRUE(test::same_run(trace, *loaded, &why)) << name << ": " << why;
    EXPECT_EQ(loaded->info().provenance, Provenance::kReplayed);
    ASSERT_TRUE(save_trace(*loaded, dir / "b"));
    const auto described = [&](const char* file) {
        json d = json::parse(SafetensorsFile::open(dir / file)->metadata().at("gatescope"));
        d.erase("provenance");
        return d;
    };
    EXPECT_EQ(described("a"), described("b")) << name;
}

TEST(TraceFile, ReadsBackWhatItWrote) {
    std::mt19937 random(31);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const char* const policies[] = {"native",    "soft", "hard", "k=1", "k=8,k@1=2", "temp=0.7,weights=one", "mask@*=3,force@0=7",
                                    "native,k=3"};
    for (int i = 0; i < 60; ++i) {
        test::MakeTrace options;
        options.n_tokens = below(4) == 0 ? below(3) : below(200);
        options.n_layers = 2 + below(5);
        options.n_dense = below(2);
        options.router = {.n_experts = 8 << below(3),
                          .n_used = 1 + below(4),
                          .score = static_cast<ScoreFn>(below(4)),
                          .renormalise = below(2) == 0,
                          .norm_floor = below(2) ? 6.103515625e-5f : 1e-20f,
                          .scale = below(2) ? 1.0f : 2.5f,
                          .select_by_logits = below(5) == 0,
                          .n_groups = below(3) == 0 ? 4 : 1,
                          .group_score = static_cast<GroupScore>(below(2))};
        options.router.n_groups_used = options.router.n_groups == 4 ? 2 : 1;
        options.selection_bias = below(2) == 0;
        options.n_prompt = below(options.n_tokens + 1);
        options.policy = policies[below(std::size(policies))];
        options.seed = random();
        expect_round_trip(make_trace(options), "trace " + std::to_string(i) + ", " + options.policy);
    }
}

TEST(TraceFile, ReadsAsManyPoliciesAsTokensInTime) {
    // Every token under a policy of its own: compared one by one, a file of some megabytes would take minutes.
    constexpr int kTokens = 30000;
    TraceWriter writer(test::make_trace_info({.n_layers = 0}));
    const TokenRow row;
    for (int t = 0; t < kTokens; ++t) {
        Policy policy;
        policy.temperature = 1.0f + static_cast<float>(t) / 64.0f;
        writer.begin_tokens(std::span(&row, 1), policy);
        writer.publish();
    }
    const TempDir dir;
    ASSERT_TRUE(save_trace(writer.snapshot(), dir / "many"));
    const Result<TraceSnapshot> loaded = load_trace(dir / "many");
    ASSERT_TRUE(loaded) << loaded.error().message();
    EXPECT_EQ(loaded->policy(kTokens - 1).temperature, writer.snapshot().policy(kTokens - 1).temperature);
    EXPECT_EQ(loaded->policy(3).temperature, writer.snapshot().policy(3).temperature);
}

TEST(TraceFile, KeepsADenseRunAndAnEmptyOne) {
    expect_round_trip(make_trace({.n_tokens = 9, .n_layers = 3, .n_dense = 3, .router = {}}), "dense");
    expect_round_trip(make_trace({.n_tokens = 0}), "no tokens");
    expect_round_trip(TraceSnapshot{}, "empty snapshot");
}

TEST(TraceFile, KeepsTextAndPromptByteForByteEvenWhereTheyAreNoUtf8) {
    TraceInfo info = test::make_trace_info({.n_layers = 0});
    info.prompt = std::string("\xff\x00\"\\ \xf0\x9f", 7);
    info.sampler = "temp=0.8 \"quoted\" \xe2\x82\xac";
    TraceWriter writer(info);
    std::vector<TokenRow> rows(3);
    rows[0].text = std::string("\0\xc3", 2);
    rows[1].text = "";
    rows[2].text = "\xa9 e";
    rows[0].logprob = rows[0].entropy = std::numeric_limits<float>::quiet_NaN();
    rows[1].logprob = -std::numeric_limits<float>::infinity();
    writer.begin_tokens(rows, Policy{});
    writer.publish();
    expect_round_trip(writer.snapshot(), "odd bytes");
}

TEST(TraceFile, ANameThatIsNoUtf8IsReplacedNotFatal) {
    TraceInfo info = test::make_trace_info({.n_layers = 0});
    info.model_name = "bad \xff name";
    const TempDir dir;
    ASSERT_TRUE(save_trace(TraceWriter(info).snapshot(), dir / "t"));
    EXPECT_EQ(load_trace(dir / "t")->info().model_name, "bad \xef\xbf\xbd name");
}

TEST(TraceFile, KeepsNonFiniteLogits) {
    TraceWriter writer(test::make_trace_info({.n_layers = 1, .router = {.n_experts = 4, .n_used = 2}}));
    const TokenRow row;
    const std::vector<float> logits = {std::numeric_limits<float>::quiet_NaN(), 1, -std::numeric_limits<float>::infinity(), 2};
    writer.begin_tokens(std::span(&row, 1), Policy{});
    writer.set_route(0, 0, logits, std::vector<int32_t>{3, 1}, std::vector<float>{0.7f, 0.3f});
    writer.publish();
    expect_round_trip(writer.snapshot(), "non-finite");
}

TEST(TraceFile, DerivesPreferenceSelectionAndMargin) {
    const TempDir dir;
    const TraceSnapshot trace = make_trace({.n_tokens = 20, .n_layers = 2, .n_prompt = 10, .policy = "k=2,mask@1=3"});
    ASSERT_TRUE(save_trace(trace, dir / "t"));
    const Result<SafetensorsFile> file = SafetensorsFile::open(dir / "t");
    ASSERT_TRUE(file);
    const std::vector<float> preference = *file->find("preference")->values<float>(), selection = *file->find("selection")->values<float>(),
                             margin = *file->find("margin")->values<float>();
    const std::vector<uint16_t> ids = *file->find("expert_ids")->values<uint16_t>(), n_used = *file->find("n_used")->values<uint16_t>();
    ASSERT_EQ(file->find("expert_ids")->shape, (std::vector<int64_t>{20, 2, 4}));
    for (int t = 0; t < 20; ++t) {
        for (int m = 0; m < 2; ++m) {
            const size_t row = static_cast<size_t>(t) * 2 + static_cast<size_t>(m);
            double sum = 0;
            for (size_t e = 0; e < 16; ++e) sum += preference[row * 16 + e];
            EXPECT_NEAR(sum, 1, 16 * std::numeric_limits<float>::epsilon());
            EXPECT_EQ(std::isinf(selection[row * 16 + 3]), t >= 10 && m == 1) << "masked in the decoded part of layer 1";
            EXPECT_EQ(n_used[row], t >= 10 ? 2 : 4);
            EXPECT_EQ(ids[row * 4 + 3] == 65535, t >= 10) << "filler beyond n_used";
            EXPECT_TRUE(std::isfinite(margin[row]));
        }
    }
}

/// Writes a trace, lets `change` alter its description and tensors, and loads the result.
struct Parts {
    json description;
    std::map<std::string, SafetensorsEntry> entries;
    std::map<std::string, std::vector<std::byte>> bytes;

    template <class T>
    void poke(const std::string& name, size_t index, T value) {
        std::memcpy(bytes[name].data() + index * sizeof(T), &value, sizeof(T));
    }
};

Result<TraceSnapshot> load_changed(const std::function<void(Parts&)>& change) {
    const TempDir dir;
    EXPECT_TRUE(save_trace(make_trace({.n_tokens = 6, .n_layers = 3, .n_dense = 1, .selection_bias = true, .policy = "k=2"}), dir / "t"));
    const Result<SafetensorsFile> file = SafetensorsFile::open(dir / "t");
    Parts parts{.description = json::parse(file->metadata().at("gatescope"))};
    for (const std::string& name : file->names()) {
        const SafeTensor* t = file->find(name);
        parts.bytes[name].assign(t->bytes.begin(), t->bytes.end());
        parts.entries[name] = {name, t->dtype, t->shape, {}};
    }
    change(parts);
    std::vector<SafetensorsEntry> entries;
    for (auto& [name, entry] : parts.entries) {
        entry.bytes = parts.bytes[name];
        entries.push_back(entry);
    }
    EXPECT_TRUE(write_safetensors(dir / "changed", {{"gatescope", parts.description.dump()}}, entries));
    return load_trace(dir / "changed");
}

TEST(TraceFile, UnchangedPartsLoadAgain) {
    const Result<TraceSnapshot> trace = load_changed([](Parts&) {});
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_TRUE(load_changed([](Parts& p) { p.entries.erase("preference"), p.entries.erase("margin"); })) << "derived ones may be missing";
}

TEST(TraceFile, ReadsFilesFromBeforeTheReadings) {
    const Result<TraceSnapshot> old = load_changed([](Parts& p) {
        p.description.erase("reading");
        p.description["router"].erase("norm_epsilon");
        p.description["router"].erase("weigh_input");
    });
    ASSERT_TRUE(old) << old.error().message();
    EXPECT_EQ(old->info().reading, "llamacpp");
    EXPECT_EQ(old->info().router.norm_epsilon, 0);
    EXPECT_FALSE(old->info().router.weigh_input);
    const Result<TraceSnapshot> other = load_changed([](Parts& p) {
        p.description["reading"] = "reference";
        p.description["router"]["score"] = "sparse_mixer";
        p.description["router"]["weigh_input"] = true;
    });
    ASSERT_TRUE(other) << other.error().message();
    EXPECT_EQ(other->info().reading, "reference");
    EXPECT_EQ(other->info().router.score, ScoreFn::kSparseMixer);
    EXPECT_TRUE(other->info().router.weigh_input);
}

TEST(TraceFile, RefusesEveryBrokenNumber) {
    const std::vector<std::pair<std::string, std::function<void(Parts&)>>> cases = {
        {"whole", [](Parts& p) { p.description["n_layers"] = "three"; }},
        {"outside", [](Parts& p) { p.description["n_layers"] = 513; }},
        {"outside", [](Parts& p) { p.description["n_layers"] = uint64_t{1} << 63; }},
        {"whole", [](Parts& p) { p.description["n_layers"] = 1e300; }},
        {"moe_layers", [](Parts& p) { p.description["moe_layers"] = {2, 1}; }},
        {"moe_layers", [](Parts& p) { p.description["moe_layers"] = {1, 3}; }},
        {"moe_layers", [](Parts& p) { p.description["moe_layers"] = {-1, 1}; }},
        {"moe_layers", [](Parts& p) { p.description.erase("moe_layers"); }},
        {"outside", [](Parts& p) { p.description["router"]["n_experts"] = 1025; }},
        {"outside", [](Parts& p) { p.description["router"]["n_experts"] = -1; }},
        {"shape", [](Parts& p) { p.description["router"]["n_experts"] = 8; }},
        {"no experts", [](Parts& p) { p.description["router"]["n_experts"] = p.description["router"]["n_used"] = 0; }},
        {"outside", [](Parts& p) { p.description["router"]["n_used"] = 17; }},
        {"score", [](Parts& p) { p.description["router"]["score"] = "magic"; }},
        {"groups", [](Parts& p) { p.description["router"]["n_groups"] = 3; }},
        {"outside", [](Parts& p) { p.description["router"]["n_groups_used"] = 2; }},
        {"number", [](Parts& p) { p.description["router"]["scale"] = nullptr; }},
        {"router", [](Parts& p) { p.description["router"] = 5; }},
        {"reading", [](Parts& p) { p.description["reading"] = "mine"; }},
        {"norm_epsilon", [](Parts& p) { p.description["router"]["norm_epsilon"] = "none"; }},
        {"weigh_input", [](Parts& p) { p.description["router"]["weigh_input"] = 1; }},
        {"name", [](Parts& p) { p.description["model"]["name"] = 5; }},
        {"policies", [](Parts& p) { p.description["policies"] = "native"; }},
        {"policy", [](Parts& p) { p.description["policies"][0] = 7; }},
        {"unknown name", [](Parts& p) { p.description["policies"][0] = "colour=red"; }},
        {"1..16", [](Parts& p) { p.description["policies"][0] = "k=17"; }},
        {"token_ids", [](Parts& p) { p.entries.erase("token_ids"); }},
        {"phases", [](Parts& p) { p.entries["phases"].dtype = "I8"; }},
        {"weights", [](Parts& p) { p.entries["weights"].shape = {6, 4, 2}; }},
        {"dimensions", [](Parts& p) { p.entries["expert_ids"].shape = {48}; }},
        {"negative", [](Parts& p) { p.poke<int32_t>("token_ids", 2, -1); }},
        {"phase", [](Parts& p) { p.poke<uint8_t>("phases", 2, 2); }},
        {"phase", [](Parts& p) { p.poke<uint8_t>("special", 0, 9); }},
        {"no such policy", [](Parts& p) { p.poke<int32_t>("policy", 5, 2); }},
        {"no such policy", [](Parts& p) { p.poke<int32_t>("policy", 5, -1); }},
        {"text", [](Parts& p) { p.poke<int64_t>("text_ends", 2, 1 << 20); }},
        {"text", [](Parts& p) { p.poke<int64_t>("text_ends", 2, -4); }},
        {"text", [](Parts& p) { p.poke<int64_t>("text_ends", 5, 3); }},
        {"expert 16 of 16", [](Parts& p) { p.poke<uint16_t>("expert_ids", 1, 16); }},
        {"expert 65535", [](Parts& p) { p.poke<uint16_t>("expert_ids", 0, 65535); }},
        {"twice", [](Parts& p) { std::memcpy(p.bytes["expert_ids"].data(), p.bytes["expert_ids"].data() + 2, 2); }},
        {"uses 0", [](Parts& p) { p.poke<uint16_t>("n_used", 3, 0); }},
        {"uses 5", [](Parts& p) { p.poke<uint16_t>("n_used", 3, 5); }},
        {"not finite", [](Parts& p) { p.poke<float>("selection_bias", 3, std::numeric_limits<float>::quiet_NaN()); }},
    };
    for (size_t i = 0; i < cases.size(); ++i) {
        const Result<TraceSnapshot> trace = load_changed(cases[i].second);
        ASSERT_FALSE(trace) << "case " << i << " (" << cases[i].first << ")";
        EXPECT_EQ(trace.error().kind, ErrorKind::kInput) << "case " << i;
        EXPECT_NE(trace.error().message().find(cases[i].first), std::string::npos) << "case " << i << ": " << trace.error().message();
    }
}

TEST(TraceFile, KeepsTokensWhoseExpertsWereAllDropped) {
    const test::TempDir dir;
    const TraceSnapshot run = what_if_trace(make_trace({.n_tokens = 40, .n_layers = 2, .n_prompt = 30}), *Policy::parse("capacity=0.1"));
    size_t n_empty = 0;
    for (int t = 0; t < 40; ++t) n_empty += run.ids(0, t).empty();
    ASSERT_GT(n_empty, 5u);
    ASSERT_TRUE(save_trace(run, dir / "t"));
    const Result<TraceSnapshot> again = load_trace(dir / "t");
    ASSERT_TRUE(again) << again.error().message();
    std::string why;
    EXPECT_TRUE(test::same_run(run, *again, &why)) << why;
}

TEST(TraceFile, SaysWhenAFileIsNoTraceOrTooNew) {
    const auto code = [](const std::function<void(Parts&)>& change) {
        const Result<TraceSnapshot> trace = load_changed(change);
        return trace ? "loaded" : trace.error().code;
    };
    EXPECT_EQ(code([](Parts& p) { p.description["version"] = 2; }), "bad_version");
    EXPECT_EQ(code([](Parts& p) { p.description["format"] = "other"; }), "not_a_trace");
    EXPECT_EQ(code([](Parts& p) { p.description = json::array(); }), "bad_value");
    const Result<TraceSnapshot> golden = load_trace(test::golden("models/mixtral/golden.safetensors"));
    ASSERT_FALSE(golden);
    EXPECT_EQ(golden.error().code, "not_a_trace");
    EXPECT_EQ(load_trace("/nonexistent/trace").error().code, "cannot_open");
}

TEST(TraceFile, RandomDamageIsRefusedOrHarmless) {
    const TempDir dir;
    ASSERT_TRUE(
        save_trace(make_trace({.n_tokens = 6, .n_layers = 2, .router = {.n_experts = 4, .n_used = 2}, .policy = "k=1"}), dir / "t"));
    const std::string good = test::read_bytes(dir / "t");
    std::mt19937 random(32);
    int n_refused = 0;
    for (int i = 0; i < 1500; ++i) {
        std::string bad = good;
        if (i % 3 == 0) bad.resize(random() % bad.size());
        for (unsigned n = 1 + random() % 8; n > 0 && !bad.empty(); --n) bad[random() % bad.size()] = static_cast<char>(random());
        test::write_bytes(dir / "bad", bad);
        const Result<TraceSnapshot> trace = load_trace(dir / "bad");
        n_refused += !trace;
        if (trace) EXPECT_EQ(trace->n_tokens(), 6);
        else EXPECT_FALSE(trace.error().message().empty());
    }
    EXPECT_GT(n_refused, 500) << "every cut file at least";
}

}  // namespace
}  // namespace gs
