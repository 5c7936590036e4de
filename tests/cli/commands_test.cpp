// The commands answer on the bundled model as README.md says, in text and in the JSON schemas.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/cli/program.h"

namespace {

ProgramResult ask(const std::string& policy) {
    return run_program({"run", "--prompt", "What is a llama?", "-n", "24", "--greedy", "--policy", policy, "--json"});
}

TEST(RunCommand, AnswersInReadableEnglishWithTheDocumentedFields) {
    const ProgramResult r = ask("native");
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_NE(j["text"].get<std::string>().find("llama"), std::string::npos) << j["text"];
    EXPECT_EQ(j["policy"], "native");
    EXPECT_FALSE(j["engine"].get<std::string>().empty());
    EXPECT_GT(j["timings"]["prefill_tokens_per_s"].get<double>(), 0);
    EXPECT_GT(j["timings"]["decode_tokens_per_s"].get<double>(), 0);
    size_t n_prefill = 0;
    for (const auto& token : j["tokens"]) {
        EXPECT_TRUE(token["id"].is_number_integer());
        EXPECT_TRUE(token["text"].is_string());
        n_prefill += token["phase"] == "prefill";
    }
    EXPECT_EQ(n_prefill, j["timings"]["prefill_tokens"].get<size_t>());
    EXPECT_TRUE(j["tokens"].back()["logprob"].is_number());
}

TEST(RunCommand, LoadOfEveryLayerSumsToTokensTimesK) {
    const auto j = ask("k=2").json();
    ASSERT_EQ(j["routing"].size(), 30u);
    for (const auto& layer : j["routing"]) {
        const auto load = layer["load"].get<std::vector<int>>();
        EXPECT_EQ(load.size(), 16u);
        EXPECT_EQ(layer["experts"], 16);
        EXPECT_EQ(layer["k"].get<double>(), 2.0);
        EXPECT_EQ(std::accumulate(load.begin(), load.end(), 0), 2 * layer["tokens"].get<int>());
    }
}

TEST(RunCommand, GivesTheSameTextForTheSameSeedAndAnotherForOneExpert) {
    const auto native = ask("native").json()["text"];
    EXPECT_EQ(native, ask("native").json()["text"]);
    EXPECT_NE(native, ask("k=1").json()["text"]);
}

TEST(PrecisionCommand, CountsEveryDecisionOnceAndFindsFewChanged) {
    const std::string text = std::string(GATESCOPE_SOURCE) + "/tests/cli/page.txt";
    const ProgramResult r = run_program({"precision", "--text", text, "--max-tokens", "60", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["tokens"], 60);
    EXPECT_EQ(j["decisions"], 60 * 30);
    uint64_t decisions = 0, changed = 0;
    for (const auto& band : j["bands"]) {
        decisions += band["decisions"].get<uint64_t>();
        changed += band["changed"].get<uint64_t>();
    }
    EXPECT_EQ(decisions, j["decisions"].get<uint64_t>());
    EXPECT_EQ(changed, j["changed"].get<uint64_t>());
    EXPECT_LT(j["changed"].get<double>(), 0.05 * j["decisions"].get<double>());
    const auto same = run_program({"precision", "--text", text, "--max-tokens", "60", "--precision", "exact", "--json"}).json();
    EXPECT_EQ(same["changed"], 0) << "exact against itself";
}

TEST(BenchCommand, SplitsATokensTimeIntoOperations) {
    const ProgramResult r = run_program({"bench", "--prompt-tokens", "16", "--decode-tokens", "1", "--repeats", "1", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    for (const char* phase : {"prefill_ops", "decode_ops"}) {
        double shares = 0;
        for (const auto& op : j[phase]) shares += op["share_of_time"].get<double>();
        EXPECT_NEAR(shares, 1, 1e-9) << phase;
    }
    EXPECT_GT(j["memory"]["anonymous"].get<uint64_t>(), 0u);
    EXPECT_GE(j["first_token_s"].get<double>(), j["load_s"].get<double>());
}

TEST(GatesCommand, ComparesSoftHardAndEveryK) {
    const ProgramResult r = run_program({"gates", "--prompt", "What is a llama?", "--layer", "12", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["layer"], 12);
    std::vector<double> errors(17, -1);
    for (const auto& rule : j["rules"]) {
        EXPECT_EQ(rule["weights"].size(), 16u);
        const auto weights = rule["weights"].get<std::vector<double>>();
        EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), rule["sum"].get<double>(), 1e-5);
        if (rule["rule"] == "soft") {
            EXPECT_EQ(rule["error_vs_soft"].get<double>(), 0.0);
        }
        if (rule["rule"] == "topk") errors[rule["k"].get<size_t>()] = rule["error_vs_soft"].get<double>();
    }
    for (size_t k = 1; k <= 16; k++) EXPECT_GE(errors[k], 0) << "k=" << k;
    EXPECT_LT(errors[16], 1e-5);         // all experts with softmax weights are the soft mixture
    EXPECT_GT(errors[1], errors[8]);
}

TEST(SweepCommand, PerplexityFallsFromOneToFourExpertsAsTheModelCardSays) {
    const ProgramResult r = run_program({"sweep", "--text", std::string(GATESCOPE_SOURCE) + "/tests/cli/page.txt", "--max-tokens", "160", "--timed", "2", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    const auto rows = j["rows"];
    ASSERT_EQ(rows.size(), 16u);
    for (size_t i = 0; i < 3; i++) {
        EXPECT_GT(rows[i]["perplexity"].get<double>(), rows[i + 1]["perplexity"].get<double>()) << "k=" << i + 1;
        EXPECT_LT(rows[i]["top1_agreement"].get<double>(), rows[i + 1]["top1_agreement"].get<double>()) << "k=" << i + 1;
        EXPECT_LT(rows[i]["bytes_per_token"].get<double>(), rows[i + 1]["bytes_per_token"].get<double>());
    }
    EXPECT_NEAR(rows[3]["kl"].get<double>(), 0.0, 1e-9);   // k = 4 is native
    EXPECT_GT(rows[0]["tokens_per_s"].get<double>(), 0);
    for (size_t m = 0; m < j["layers"].size(); m++) {
        EXPECT_EQ(rows[3]["layer_error"][m].get<double>(), 0.0);
        EXPECT_GT(rows[0]["layer_error"][m].get<double>(), rows[2]["layer_error"][m].get<double>()) << "layer " << m;
    }
}

TEST(SweepCommand, GivesTheSameFiguresInEveryForm) {
    const auto with = [](const char* form) {
        return run_program({"sweep", "--domain", "code", "--max-tokens", "20", "--ks", "1,4", "--timed", "0", form});
    };
    const ProgramResult json = with("--json"), csv = with("--csv"), table = with("--layers");
    for (const ProgramResult* r : {&json, &csv, &table}) ASSERT_EQ(r->exit_code, 0) << r->err;
    const auto rows = json.json()["rows"];
    ASSERT_EQ(rows.size(), 2u);
    char first_layer[32], mean_kl[32];
    std::snprintf(first_layer, sizeof first_layer, "%.4f", rows[0]["layer_error"][0].get<double>());
    std::snprintf(mean_kl, sizeof mean_kl, "%.5f", rows[0]["kl"].get<double>());
    EXPECT_NE(table.out.find(first_layer), std::string::npos) << table.out;
    EXPECT_NE(table.out.find(mean_kl), std::string::npos) << table.out;
    EXPECT_NE(csv.out.find("\n1,0,19,"), std::string::npos) << csv.out;
    EXPECT_NE(csv.out.find("\n4,1,19,"), std::string::npos) << csv.out;
    EXPECT_NE(csv.out.find("layer_error_0"), std::string::npos);
}

TEST(SensitivityCommand, GivesTheSameFiguresInEveryForm) {
    const std::vector<std::string> what = {"sensitivity", "--domain", "code", "--max-tokens", "20", "--ks", "1"};
    const auto with = [&](const char* form) {
        std::vector<std::string> arguments = what;
        if (*form) arguments.emplace_back(form);
        return run_program(arguments);
    };
    const ProgramResult r = with("--json");
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["k"], (std::vector<int>{1, 4})) << "the native k is always there";
    ASSERT_EQ(j["layers"].size(), 30u);
    const ProgramResult csv = with("--csv");
    ASSERT_EQ(csv.exit_code, 0) << csv.err;
    EXPECT_EQ(std::count(csv.out.begin(), csv.out.end(), '\n'), 1 + 60);
    for (const auto& layer : j["layers"]) {
        EXPECT_GT(layer["kl"][0].get<double>(), 0);
        EXPECT_EQ(layer["kl"][1].get<double>(), 0);
        EXPECT_LT(layer["bytes_per_token"][0].get<double>(), layer["bytes_per_token"][1].get<double>());
        const std::string line = "\n" + std::to_string(layer["layer"].get<int>()) + ",4,1,0,";
        EXPECT_NE(csv.out.find(line), std::string::npos) << line;
    }
    EXPECT_EQ(j["uniform"][1]["kl"].get<double>(), 0);
    const ProgramResult table = with("");
    ASSERT_EQ(table.exit_code, 0) << table.err;
    EXPECT_NE(table.out.find("k=4"), std::string::npos);
    EXPECT_EQ(std::count(table.out.begin(), table.out.end(), '*'), 1 + 30) << "the layer's own k, and what the mark means";
}

TEST(SpecializeCommand, GivesTheSameFiguresInEveryFormAndTakesTextsOfOnesOwn) {
    const std::string own = temporary_file("law.txt", "The parties agree that the seller shall deliver the goods, and that the buyer shall pay for them within thirty days.");
    const auto with = [&](const char* form) {
        std::vector<std::string> arguments = {"specialize", "--domains", "code,prose", "--text", "law=" + own, "--max-tokens", "60", "--shuffles", "20"};
        if (*form) arguments.emplace_back(form);
        return run_program(arguments);
    };
    const ProgramResult r = with("--json");
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["texts"].size(), 3u);
    EXPECT_EQ(j["domain_tokens"].size(), 3u);
    ASSERT_EQ(j["layers"].size(), 30u);
    for (const auto& layer : j["layers"])
        for (const char* kind : {"domain", "word_class"}) {
            const double bits = layer[kind]["bits"], entropy = layer[kind]["entropy_bits"];
            EXPECT_GT(bits, 0);
            EXPECT_LT(bits, entropy);
            EXPECT_LE(layer[kind]["null"]["band_95"][0].get<double>(), layer[kind]["null"]["mean"].get<double>());
        }
    const ProgramResult csv = with("--csv"), text = with("");
    ASSERT_EQ(csv.exit_code, 0) << csv.err;
    int chosen = 0;   // by law in layer 7: every assignment once
    for (size_t at = 0; (at = csv.out.find("\n7,domain,\"law\",", at)) != std::string::npos; ++at) {
        int expert = 0, tokens = 0, n = 0;
        ASSERT_EQ(std::sscanf(csv.out.c_str() + at, "\n7,domain,\"law\",%d,%d,%d", &expert, &tokens, &n), 3);
        EXPECT_EQ(tokens, j["domain_tokens"]["law"]);
        chosen += n;
    }
    EXPECT_EQ(chosen, 4 * j["domain_tokens"]["law"].get<int>());
    EXPECT_NE(text.out.find(j["verdict"]["text"].get<std::string>()), std::string::npos) << text.out;
}

TEST(ExpertsCommand, TellsOfOneExpertWhatItsTokensAre) {
    const std::vector<std::string> what = {"experts", "--domains", "prose", "--max-tokens", "80", "--shuffles", "20", "--layer", "12", "--expert", "5"};
    std::vector<std::string> as_json = what;
    as_json.emplace_back("--json");
    const auto j = run_program(as_json).json();
    EXPECT_EQ(j["layer"], 12);
    EXPECT_EQ(j["expert"], 5);
    int by_class = 0;
    for (const auto& c : j["word_classes"]) by_class += c["chosen"].get<int>();
    EXPECT_EQ(by_class, j["tokens"]);
    EXPECT_EQ(j["partners"].size(), 15u);
    EXPECT_EQ(j["router_direction"]["nearest"].size(), 16u);
    EXPECT_GT(j["importance"]["REAP"]["value"].get<double>(), 0);
    const ProgramResult text = run_program(what);
    ASSERT_EQ(text.exit_code, 0) << text.err;
    EXPECT_NE(text.out.find("layer 12, expert 5: " + std::to_string(j["tokens"].get<int>()) + " of "), std::string::npos) << text.out;
}

TEST(ExpertsCommand, SaysTheSameImportanceAndItsChanceInEveryForm) {
    const auto ask_experts = [](std::initializer_list<const char*> more) {
        std::vector<std::string> what = {"experts", "--domains", "prose", "--max-tokens", "80", "--shuffles", "20", "--layer", "12"};
        what.insert(what.end(), more.begin(), more.end());
        return run_program(what);
    };
    const auto one = ask_experts({"--expert", "5", "--json"}).json();
    const std::string text = ask_experts({"--expert", "5"}).out, lines = ask_experts({"--expert", "5", "--csv"}).out;
    const auto all = ask_experts({"--json"}).json();
    const std::string layer = ask_experts({}).out;
    EXPECT_EQ(one["importance"].size(), 9u);
    EXPECT_EQ(one["importance"], all["experts"][5]["importance"]);
    for (const auto& [name, f] : one["importance"].items()) {
        const double value = f["value"], low = f["null"]["band_95"][0], high = f["null"]["band_95"][1];
        EXPECT_EQ(f["tokens"], one["tokens"]) << name;
        EXPECT_EQ(f["of_tokens"], one["of_tokens"]) << name;
        EXPECT_LT(low, high) << name;
        EXPECT_EQ(f["beyond_chance"].get<bool>(), value < low || value > high) << name;
        const std::string said = fmt::format("{:.4g}{} chance {:.4g}, 95 % {:.4g} to {:.4g}", value, f["beyond_chance"].get<bool>() ? '*' : ' ', f["null"]["mean"].get<double>(), low, high);
        EXPECT_NE(text.find(said), std::string::npos) << said << '\n' << text;
        const std::string line = fmt::format("importance,\"{}\",{},{},{:.9g},{:.9g},{:.9g},{:.9g}\n", name, one["of_tokens"].get<int>(), one["tokens"].get<int>(), value, f["null"]["mean"].get<double>(), low, high);
        EXPECT_NE(lines.find(line), std::string::npos) << line << '\n' << lines;
    }
    const auto& reap = one["importance"]["REAP"];
    const std::string cell = fmt::format(" {:.4f}{} ", reap["value"].get<double>(), reap["beyond_chance"].get<bool>() ? "*" : "");
    EXPECT_NE(layer.find(cell), std::string::npos) << cell << '\n' << layer;
}

TEST(CoActivationCommand, ReadsARecordedRunWithoutAModel) {
    const std::string run = std::string(GATESCOPE_SOURCE) + "/assets/runs/what-is-a-llama.safetensors";
    const ProgramResult r = run_program({"coactivation", run, "--layer", "12", "--json", "--shuffles", "20"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["provenance"], "replayed");
    ASSERT_EQ(j["layers"].size(), 1u);
    const auto& pairs = j["layers"][0]["co_activation"];
    for (size_t e = 0; e < 16; ++e) {
        double sum = 0;   // a token has three partners for each of its experts
        for (const auto& share : pairs["share"][e])
            if (share.is_number()) sum += share.get<double>();
        EXPECT_NEAR(sum, pairs["expert_tokens"][e] > 0 ? 3 : 0, 1e-9);
    }
    EXPECT_NEAR(pairs["uniform"].get<double>(), 3.0 / 15, 1e-12);
    const ProgramResult adjacent = run_program({"coactivation", run, "--layer", "12", "--pairs", "adjacent", "--shuffles", "20"});
    EXPECT_NE(adjacent.out.find("rank-adjacent pairs"), std::string::npos) << adjacent.out;
    const ProgramResult flow = run_program({"coactivation", run, "--layer", "12", "--to", "13", "--shuffles", "20"});
    EXPECT_EQ(std::count(flow.out.begin(), flow.out.end(), '\n'), 1 + 16 * 16);
}

TEST(ScheduleCommand, KeepsItsBudgetsAsComparingThePolicyConfirms) {
    const std::string text = temporary_file("short.txt", "The tall ships came into the harbour at noon, and everybody in the town went down to see them.");
    const ProgramResult r = run_program({"schedule", "--text", text, "--ks", "1-3", "--timed", "0", "--budget", "kl=0.2", "--budget", "bytes=70MB", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto found = r.json()["schedules"];
    ASSERT_EQ(found.size(), 2u);
    EXPECT_LE(found[0]["verified"]["kl"].get<double>(), 0.2);
    EXPECT_LE(found[1]["verified"]["bytes_per_token"].get<double>(), 70e6);
    for (const auto& s : found) {
        EXPECT_EQ(s["k"].size(), 30u);
        EXPECT_NE(s["uniform"]["llama_cpp"].get<std::string>().find("--override-kv granitemoe.expert_used_count=int:"), std::string::npos);
        const ProgramResult c = run_program({"compare", "--text", text, "--a", "native", "--b", s["policy"].get<std::string>(), "--json"});
        ASSERT_EQ(c.exit_code, 0) << c.err;
        const auto confirmed = c.json()["rows"][1];
        EXPECT_EQ(confirmed["kl"].get<double>(), s["verified"]["kl"].get<double>());
        EXPECT_EQ(confirmed["perplexity"].get<double>(), s["verified"]["perplexity"].get<double>());
        EXPECT_DOUBLE_EQ(confirmed["bytes_per_token"].get<double>(), s["predicted"]["bytes_per_token"].get<double>());
    }
}

TEST(TraceCommand, RecordsWhatItThenDescribes) {
    const std::string file = temporary_path("run.safetensors");
    ASSERT_EQ(run_program({"trace", "--prompt", "Hello", "-n", "4", "--out", file}).exit_code, 0);
    const ProgramResult r = run_program({"trace", file, "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    EXPECT_EQ(r.json()["provenance"], "replayed");
    EXPECT_EQ(r.json()["prompt"], "Hello");
    EXPECT_EQ(r.json()["layers"].size(), 30u);
}

TEST(CompareCommand, FindsNoDifferenceBetweenARunAndItself) {
    const std::string file = temporary_path("same.safetensors");
    ASSERT_EQ(run_program({"trace", "--prompt", "Hello", "-n", "4", "--out", file}).exit_code, 0);
    const auto j = run_program({"compare", file, file, "--json"}).json();
    EXPECT_EQ(j["first_difference"], -1);
    for (const auto& layer : j["layers"]) {
        EXPECT_EQ(layer["route_agreement"], 1.0);
        EXPECT_EQ(layer["load_jsd_bits"], 0.0);
    }
}

TEST(RunCommand, GatesThatVaryTheNumberOfExpertsCountTheBytesReallyRead) {
    const auto native = ask("native").json(), few = ask("tau=0.5").json(), many = ask("p=0.95").json();
    EXPECT_EQ(few["policy"], "tau=0.5");
    EXPECT_LT(few["bytes_per_token"].get<double>(), native["bytes_per_token"].get<double>());
    EXPECT_GT(many["bytes_per_token"].get<double>(), native["bytes_per_token"].get<double>());
    EXPECT_EQ(ask("noise=0.5,seed=3").json()["text"], ask("noise=0.5,seed=3").json()["text"]) << "noise with a seed repeats";
}

TEST(ChoicesCommand, CountsTiesFragileChoicesAndDropsByPosition) {
    const std::vector<std::string> arguments = {"choices", "--prompt", "What is a llama?", "-n", "0", "--policy", "capacity=0.75", "--bins", "4", "--json"};
    const ProgramResult r = run_program(arguments);
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto j = r.json();
    EXPECT_EQ(j["policy"], "capacity=0.75");
    EXPECT_EQ(j["provenance"], "computed");
    ASSERT_EQ(j["layers"].size(), 30u);
    ASSERT_EQ(j["positions"].size(), 4u);
    uint64_t by_layer = 0, by_position = 0;
    for (const auto& layer : j["layers"]) by_layer += layer["dropped"].get<uint64_t>();
    for (const auto& part : j["positions"]) by_position += part["dropped"].get<uint64_t>();
    EXPECT_EQ(by_layer, j["all"]["dropped"].get<uint64_t>());
    EXPECT_EQ(by_position, by_layer);
    EXPECT_GT(by_layer, 0u);
    EXPECT_EQ(j["all"]["wanted"].get<uint64_t>(), j["tokens"].get<uint64_t>() * 30 * 4);
    EXPECT_LE(j["positions"][0]["dropped"].get<uint64_t>(), j["positions"][3]["dropped"].get<uint64_t>()) << "experts fill up";
    EXPECT_LT(j["all"]["fragile"].get<uint64_t>(), j["all"]["decisions"].get<uint64_t>() / 10);
    EXPECT_EQ(run_program({"choices", "--prompt", "x", "--policy", "capacity=-1"}).exit_code, 2);
}

TEST(CompareCommand, StatesTheCostOfEveryRuleAgainstNative) {
    const ProgramResult r = run_program({"compare", "--prompt", "What is a llama?", "-n", "8", "--rules", "--json"});
    ASSERT_EQ(r.exit_code, 0) << r.err;
    const auto rows = r.json()["rows"];
    ASSERT_EQ(rows.size(), 4u);
    EXPECT_EQ(rows[0]["kl"], 0.0);
    EXPECT_GT(rows[2]["kl"].get<double>(), rows[1]["kl"].get<double>());   // hard is further from native than soft
    EXPECT_EQ(rows[0]["route_agreement"].size(), 30u);
}

TEST(InfoCommand, EstimatesMemoryBeforeLoading) {
    const auto j = run_program({"info", "--json"}).json();
    EXPECT_EQ(j["experts"], 16);
    EXPECT_EQ(j["experts_used"], 4);
    EXPECT_EQ(j["layers"], 30);
    EXPECT_GT(j["memory_needed"].get<uint64_t>(), j["weight_bytes"].get<uint64_t>());
}

TEST(EngineOptions, TakeANumberOfGpuLayersOrAuto) {
    for (const char* n : {"auto", "0", "7"})
        EXPECT_EQ(run_program({"run", "--prompt", "Hello", "-n", "1", "--engine", "cpu", "--gpu-layers", n}).exit_code, 0) << n;
    for (const char* n : {"all", "-1", "1.5", ""}) {
        const ProgramResult r = run_program({"run", "--prompt", "Hello", "-n", "1", "--gpu-layers", n});
        EXPECT_NE(r.exit_code, 0) << n;
        EXPECT_NE(r.err.find("--gpu-layers"), std::string::npos) << r.err;
    }
}

TEST(VerifyCommand, PassesAGoldenModelInTheDocumentedSchema) {
    const ProgramResult r = run_program({"verify", std::string(GATESCOPE_GOLDENS) + "/models/olmoe", "--json"});
    EXPECT_EQ(r.exit_code, 0) << r.err << r.out;
    const auto j = r.json();
    for (const auto& c : j["cases"]) {
        EXPECT_TRUE(c["pass"].get<bool>()) << c.dump();
        EXPECT_TRUE(c.contains("case") && c.contains("max_abs_logit_diff") && c.contains("expert_agreement"));
    }
}

TEST(SelftestCommand, PassesOnThisMachine) { EXPECT_EQ(run_program({"selftest"}).exit_code, 0); }

}  // namespace
