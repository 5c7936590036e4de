// The study of experts on a model: every figure against an independent count, partial results, cancel, and the session around it.
#include "engine/run/expert_study.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>

#include <fmt/format.h>

#include "engine/io/trace_file.h"
#include "engine/run/expert_export.h"
#include "engine/run/router_words.h"
#include "tests/routing/planted_routes.h"
#include "tests/run/session_fixture.h"

namespace gs {
namespace {

using namespace test;

std::string repeated(const std::string& text, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += text;
    return out;
}

StudyRequest two_texts() {
    StudyRequest request{.max_tokens = 120, .n_shuffles = 30};
    request.texts = {{"prose", repeated("The llama was walking slowly over the hill, and nobody saw it. ", 6)},
                     {"code", repeated("def f(x):\n    return x + 1\n", 8)}};
    return request;
}

std::shared_ptr<const ExpertStudy> study(Decoder& decoder, const StudyRequest& request) {
    const auto done = study_experts(decoder, request);
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    return done ? *done : nullptr;
}

TEST(ExpertStudy, RoutesEveryTextFromAnEmptyCacheAndCountsAllButControlTokens) {
    const auto model = golden_model("granitemoe-shared");
    const auto decoder = make_decoder(model, {.n_ctx = 100});   // a window and a rest
    const auto s = study(*decoder, two_texts());
    ASSERT_TRUE(s);
    EXPECT_TRUE(s->complete);
    ASSERT_EQ(s->texts.size(), 2u);
    EXPECT_EQ(s->texts[1].begin, s->texts[0].end);
    EXPECT_EQ(s->trace.n_tokens(), s->texts[1].end);
    EXPECT_GT(s->texts[0].end, 100);
    EXPECT_EQ(s->n_layers(), static_cast<int>(model->spec.moe_layers.size()));
    // The second text alone gives the same routing: nothing is carried over.
    std::vector<int32_t> ids;
    for (int t = s->texts[1].begin; t < std::min(s->texts[1].end, s->texts[1].begin + 64); ++t) ids.push_back(s->trace.token(t).id);
    const Pass alone = run_pass(*decoder, ids);
    for (const RouteList::Row& row : alone.routes) {
        const auto got = s->trace.ids(row.moe_layer, s->texts[1].begin + row.row);
        ASSERT_TRUE(std::equal(got.begin(), got.end(), row.ids.begin(), row.ids.end())) << row.moe_layer << " " << row.row;
    }
    for (const int row : s->tokens.rows) EXPECT_FALSE(s->trace.token(row).special);
    uint32_t by_domain = 0, by_class = 0;
    for (const uint32_t n : s->tokens.domain_tokens) by_domain += n;
    for (const uint32_t n : s->tokens.class_tokens) by_class += n;
    EXPECT_EQ(by_domain, static_cast<uint32_t>(s->tokens.n()));
    EXPECT_EQ(by_class, by_domain);
    for (const LayerStudy& layer : s->layers) {
        uint32_t assigned = 0;
        for (const ExpertImportance& e : layer.importance) assigned += e.n;
        EXPECT_EQ(assigned, layer.routes.ids.size());
        EXPECT_EQ(layer.outputs.norm.size(), layer.routes.ids.size());
    }
}

/// Norms and cosines against the probe, which runs all experts on one token.
TEST(ExpertStudy, OutputsAreThoseOfTheExperts) {
    for (const char* name : {"granitemoe-shared", "olmoe"}) {
        const auto model = golden_model(name);
        const auto decoder = make_decoder(model, {.n_ctx = 128});
        StudyRequest request = two_texts();
        request.texts.resize(1);
        request.max_tokens = 60;
        const auto s = study(*decoder, request);
        ASSERT_TRUE(s);
        for (const int t : {0, 7, 31}) {
            std::vector<int32_t> before;
            const int row = s->tokens.rows[static_cast<size_t>(t)];
            for (int i = 0; i < row; ++i) before.push_back(s->trace.token(i).id);
            if (!before.empty()) {
                ASSERT_TRUE(decoder->forward(before, 0, LogitRows::kNone));
            }
            for (int m = 0; m < s->n_layers(); ++m) {
                const auto probe = decoder->probe(s->trace.token(row).id, row, m);
                ASSERT_TRUE(probe);
                const LayerStudy& layer = s->layers[static_cast<size_t>(m)];
                const auto ids = layer.routes.of(t);
                const size_t width = static_cast<size_t>(model->spec.n_embd), first = layer.routes.begin[static_cast<size_t>(t)];
                std::vector<double> sum(width);
                for (size_t j = 0; j < ids.size(); ++j)
                    for (size_t i = 0; i < width; ++i) sum[i] += static_cast<double>(layer.routes.weights[first + j] * probe->expert_outputs[ids[j] * width + i]);
                for (size_t j = 0; j < ids.size(); ++j) {
                    double square = 0, dot = 0, length = 0;
                    for (size_t i = 0; i < width; ++i) {
                        const double f = static_cast<double>(probe->expert_outputs[ids[j] * width + i]);
                        square += f * f, dot += f * sum[i], length += sum[i] * sum[i];
                    }
                    EXPECT_NEAR(layer.outputs.norm[first + j], std::sqrt(square), 1e-4 * std::sqrt(square)) << name;
                    EXPECT_NEAR(layer.outputs.part[first + j], std::abs(layer.routes.weights[first + j]) * std::sqrt(square), 1e-4 * std::sqrt(square));
                    EXPECT_NEAR(layer.outputs.cosine[first + j], dot / std::sqrt(square * length), 1e-4);
                }
            }
        }
    }
}

TEST(ExpertStudy, TextsOfOneDomainCountTogetherAndOneDomainIsSaidToBeTooFew) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    StudyRequest request = two_texts();
    request.texts.push_back({"code", repeated("for i in range(3): print(i)\n", 5)});
    const auto s = study(*decoder, request);
    ASSERT_TRUE(s);
    EXPECT_EQ(s->tokens.domains, (std::vector<std::string>{"prose", "code"}));
    EXPECT_EQ(s->layers[0].by_domain.tokens.size(), 2u);
    request.texts.resize(1);
    EXPECT_NE(study(*decoder, request)->verdict.text().find("All texts are of one domain"), std::string::npos);
}

TEST(ExpertStudy, GrowsTextByTextAndCancels) {
    const auto decoder = make_decoder(golden_model("mixtral"));
    const StudyRequest request = two_texts();
    size_t n_texts = 0;
    double last = 0;
    const auto whole = study_experts(*decoder, request, [&](const std::shared_ptr<const ExpertStudy>& so_far, double fraction, const std::string&) {
        EXPECT_GE(fraction, last);
        last = fraction;
        if (!so_far) return;
        EXPECT_EQ(so_far->texts.size(), ++n_texts);
        EXPECT_EQ(so_far->complete, n_texts == 2);
        EXPECT_EQ(so_far->trace.n_tokens(), so_far->texts.back().end);
    });
    ASSERT_TRUE(whole);
    EXPECT_EQ(n_texts, 2u);
    EXPECT_EQ(last, 1);
    CancelFlag cancel;
    const auto cancelled = study_experts(*decoder, request, [&](const auto& so_far, double, const std::string&) {
        if (so_far) cancel.set();
    }, &cancel);
    ASSERT_FALSE(cancelled);
    EXPECT_EQ(cancelled.error().kind, ErrorKind::kCancelled);
}

TEST(ExpertStudy, RefusesBadInput) {
    StudyRequest request;
    const auto decoder = make_decoder(golden_model("mixtral"));
    EXPECT_EQ(study_experts(*decoder, request).error().code, "no_texts");
    request.texts = {{"empty", ""}};
    EXPECT_EQ(study_experts(*decoder, request).error().code, "text_too_short");
    request = two_texts();
    request.policy = policy("k=9");
    EXPECT_EQ(study_experts(*decoder, request).error().code, "bad_policy");
    EXPECT_EQ(study_experts(*make_decoder(golden_model("llama")), two_texts()).error().code, "dense_model");
}

/// Layers whose routing a test plants, over 4 domains x 5 word classes in all combinations.
struct Planted {
    StudyTokens tokens;
    std::vector<LayerStudy> layers;

    template <class Route>
    Planted(int n_layers, Route route) {
        for (int i = 0; i < 4; ++i) tokens.domains.push_back(fmt::format("domain {}", i));
        for (int t = 0; t < 1280; ++t) {
            tokens.rows.push_back(t);
            tokens.ids.push_back(t % 5);
            tokens.text.push_back(static_cast<int16_t>(t / 320));
            tokens.domain.push_back(tokens.text.back());
            tokens.word_class.push_back(static_cast<int16_t>(t % 5));
        }
        const StudyShuffles shuffles(tokens, 60);
        for (int m = 0; m < n_layers; ++m) layers.push_back(analyse_layer(route(tokens, m), {}, tokens, shuffles));
    }
    SpecializationVerdict verdict() const {
        std::vector<int> blk(layers.size());
        std::iota(blk.begin(), blk.end(), 10);
        return judge(layers, blk, tokens);
    }
};

LayerRoutes route_by(const StudyTokens& tokens, const Labels& labels) {
    LayerRoutes routes;
    routes.n_experts = 8;
    for (int t = 0; t < tokens.n(); ++t) add_token(routes, {labels[static_cast<size_t>(t)], 5 + t % 3});
    return routes;
}

TEST(ExpertStudy, TheVerdictFollowsWhatIsPlanted) {
    const Planted by_class(3, [](const StudyTokens& t, int) { return route_by(t, t.word_class); });
    EXPECT_EQ(by_class.verdict().claim, Claim::kWordClass);
    EXPECT_EQ(by_class.verdict().class_beyond, 3);
    EXPECT_NE(by_class.verdict().text().find("kind of word more than by domain"), std::string::npos);
    EXPECT_NEAR(by_class.layers[0].class_given_domain.share(), by_class.layers[0].word_class.share(), 0.02) << "domain has no part in it";
    const Planted by_domain(3, [](const StudyTokens& t, int) { return route_by(t, t.domain); });
    EXPECT_EQ(by_domain.verdict().claim, Claim::kDomain);
    EXPECT_EQ(by_domain.verdict().domain_leads, (std::vector<int>{10, 11, 12}));
    EXPECT_NE(by_domain.verdict().text().find("the domain in layers 10–12"), std::string::npos) << by_domain.verdict().text();
    const Planted by_nothing(4, [](const StudyTokens& t, int m) { return uniform_routes(t.n(), 8, 2, static_cast<uint64_t>(m) + 2); });
    EXPECT_EQ(by_nothing.verdict().claim, Claim::kNeither) << by_nothing.verdict().text();
    EXPECT_NEAR(by_nothing.verdict().class_share, 0, 0.005);
    EXPECT_NEAR(by_nothing.verdict().domain_share, 0, 0.005);
    const Planted by_turns(4, [](const StudyTokens& t, int m) { return route_by(t, m % 2 == 0 ? t.domain : t.word_class); });
    EXPECT_EQ(by_turns.verdict().claim, Claim::kNeither) << "each in half of the layers is in most of them for neither";
}

/// numpy counts again what the program says, from nothing but the trace file and the labels.
TEST(ExpertStudy, AnIndependentProgramCountsTheSame) {
    const char* named = std::getenv("GATESCOPE_PYTHON");
    const std::string python = named && *named ? named : "python3";
    if (std::system(fmt::format("'{}' -c 'import numpy, safetensors.numpy' 2>/dev/null", python).c_str()) != 0)
        GTEST_SKIP() << python << " has no safetensors and numpy: install tests/io/requirements.txt and set GATESCOPE_PYTHON";
    const auto decoder = make_decoder(golden_model("olmoe"));
    StudyRequest request = two_texts();
    request.policy = policy("k=3,k@1=2");
    const auto s = study(*decoder, request);
    ASSERT_TRUE(s);
    const TempDir dir;
    ASSERT_TRUE(save_trace(s->trace, dir / "study.safetensors"));
    nlohmann::ordered_json json = specialization_json(*s);
    json["rows"] = s->tokens.rows;
    json["domain"] = s->tokens.domain;
    json["text"] = s->tokens.text;
    json["word_class"] = s->tokens.word_class;
    json["at_least"] = kMinOccurrences;
    for (int m = 0; m < s->n_layers(); ++m) {
        const LayerRoutes& routes = s->layers[static_cast<size_t>(m)].routes;
        auto& layer = json["layers"][static_cast<size_t>(m)];
        layer["co_activation"] = co_activation_json(co_activation(routes, PairMode::kAll));
        layer["adjacent"] = co_activation_json(co_activation(routes, PairMode::kAdjacent));
        if (m + 1 < s->n_layers()) layer["flow"] = flow_json(cross_layer_flow(routes, s->layers[static_cast<size_t>(m) + 1].routes));
        const SlotOutputs& outputs = s->layers[static_cast<size_t>(m)].outputs;
        layer["slots"] = {{"weight", routes.weights}, {"norm", outputs.norm}, {"part", outputs.part}, {"cosine", outputs.cosine}};
        layer["importance"] = nlohmann::ordered_json::array();
        for (int e = 0; e < s->n_experts(); ++e) layer["importance"].push_back(profile_json(expert_profile(*s, m, e))["importance"]);
        layer["lift"] = nlohmann::ordered_json::array();
        for (int e = 0; e < s->n_experts(); ++e) {
            auto of_expert = nlohmann::ordered_json::array();
            for (const TokenLift& l : token_lift(routes, e, s->tokens.ids, kMinOccurrences)) of_expert.push_back({l.id, l.n, l.chosen, l.lift});
            layer["lift"].push_back(of_expert);
        }
    }
    std::ofstream(dir / "study.json") << json.dump();
    const std::string command = fmt::format("'{}' '{}' '{}' '{}'", python, source("tests/run/check_study.py").string(), (dir / "study.safetensors").string(), (dir / "study.json").string());
    EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(ExpertProfile, IsWhatTheStudySaysOfOneExpert) {
    const auto decoder = make_decoder(golden_model("olmoe"));
    const auto s = study(*decoder, two_texts());
    ASSERT_TRUE(s);
    const LayerStudy& layer = s->layers[1];
    for (int e = 0; e < s->n_experts(); ++e) {
        const ExpertProfile p = expert_profile(*s, 1, e, {.n_tokens = 4, .n_contexts = 2});
        EXPECT_EQ(p.n, layer.importance[static_cast<size_t>(e)].n);
        EXPECT_EQ(p.domains.size(), 2u);
        uint32_t chosen = 0;
        for (const LabelUse& u : p.classes) chosen += u.chosen;
        EXPECT_EQ(chosen, p.n);
        for (size_t i = 1; i < p.tokens.size(); ++i) EXPECT_GE(p.tokens[i - 1].figures.lift, p.tokens[i].figures.lift);
        for (const ProfileToken& t : p.tokens) {
            EXPECT_LE(t.contexts.size(), 2u);
            for (const TokenContext& c : t.contexts) {
                const auto ids = s->trace.ids(1, c.row);
                EXPECT_NE(std::find(ids.begin(), ids.end(), e), ids.end()) << "a context shows a token that took the expert";
                EXPECT_EQ(s->trace.token(c.row).id, t.figures.id);
            }
        }
        double sum = 0;
        for (const Partner& q : p.partners) sum += q.n;
        EXPECT_EQ(sum, p.n * (layer.routes.mean_k() - 1));
        EXPECT_FALSE(p.before.empty());
    }
}

TEST(RouterWords, FindsTheTokenThatARowIsMadeOf) {
    // The nearest token of a direction, by brute force over the same definition on one layer of a real model.
    const auto model = golden_model("mixtral");
    const auto words = router_words(*model, 1, 2, 5);
    ASSERT_TRUE(words);
    ASSERT_EQ(words->nearest.size(), 5u);
    const auto row_of = [](const Weight& w, int o) {
        std::vector<float> out(static_cast<size_t>(w.n_in));
        tensor_type_info(w.type).dequantize(w.row(o), out.size() / tensor_type_info(w.type).block_values, out.data());
        return out;
    };
    const ModelWeights& w = model->weights;
    const LayerWeights& layer = w.layers[static_cast<size_t>(model->spec.moe_layers[1])];
    const auto width = static_cast<size_t>(model->spec.n_embd);
    std::vector<double> direction(width), mean(width);
    const std::vector<float> norm = row_of(layer.ffn_norm, 0);
    for (int e = 0; e < model->spec.router.n_experts; ++e) {
        const std::vector<float> row = row_of(layer.router, e);
        for (size_t i = 0; i < width; ++i) direction[i] += (static_cast<double>(e == 2) - 1.0 / model->spec.router.n_experts) * static_cast<double>(row[i] * norm[i]);
    }
    for (int id = 0; id < w.token_embedding.n_out; ++id) {
        const std::vector<float> row = row_of(w.token_embedding, id);
        for (size_t i = 0; i < width; ++i) mean[i] += static_cast<double>(row[i]) / w.token_embedding.n_out;
    }
    int best = -1;
    double most = -2;
    for (int id = 0; id < w.token_embedding.n_out; ++id) {
        const std::vector<float> row = row_of(w.token_embedding, id);
        double dot = 0, a = 0, b = 0;
        for (size_t i = 0; i < width; ++i) {
            const double v = static_cast<double>(row[i]) - mean[i];
            dot += v * direction[i], a += v * v, b += direction[i] * direction[i];
        }
        const double cosine = a > 0 ? dot / std::sqrt(a * b) : 0;
        if (cosine > most) most = cosine, best = id;
    }
    EXPECT_EQ(words->nearest[0].id, best);
    EXPECT_NEAR(words->nearest[0].cosine, most, 1e-5);
    EXPECT_GT(words->random_most, words->random_mean);
    EXPECT_GT(words->random_mean, 0);
    EXPECT_EQ(router_words(*model, 0, 99, 5).error().code, "out_of_range");
}

TEST(Session, StudiesExpertsAndReadsRoutersAndANewerModelTakesThemAway) {
    Watched w;
    w.loaded("mixtral");
    w.session.request_expert_study(two_texts());
    State state = w.idle();
    ASSERT_TRUE(state->study);
    EXPECT_TRUE(state->study->complete);
    EXPECT_TRUE(state->notices.empty());
    w.session.request_router_words(1, 3);
    state = w.idle();
    ASSERT_TRUE(state->router_words);
    EXPECT_EQ(state->router_words->expert, 3);
    w.session.request_router_words(77, 3);
    EXPECT_TRUE(has_notice(*w.idle(), "out_of_range"));
    w.session.request_expert_study({});
    EXPECT_TRUE(has_notice(*w.idle(), "no_texts"));
    EXPECT_TRUE(w.session.latest()->study) << "what there was stays";
    state = w.loaded("granitemoe");
    EXPECT_FALSE(state->study);
    EXPECT_FALSE(state->router_words);
}

TEST(Session, ShowsAStudyTextByTextAndARunEndsIt) {
    Watched w;
    w.loaded("mixtral");
    StudyRequest request = two_texts();
    request.texts.push_back(request.texts[0]);
    const State partial = w.first_while([&] { w.session.request_expert_study(request); }, [](const SessionState& s) { return s.study && !s.study->complete; });
    ASSERT_TRUE(partial);
    EXPECT_EQ(partial->activity, Activity::kStudying);
    request.max_tokens = 5000;
    request.texts[0].text = repeated(request.texts[0].text, 30);
    w.session.request_expert_study(request);
    w.session.run(test::request("What is a llama?", 2));
    const State state = w.idle();
    EXPECT_TRUE(state->run);
    EXPECT_TRUE(state->notices.empty()) << "a cancelled study is no error";
}

}  // namespace
}  // namespace gs
