// Exports, read back: by the importers, by nlohmann's parser, and by NumPy.
#include "engine/io/export_trace.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include "engine/io/import_trace.h"
#include "tests/support/make_trace.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

TraceSnapshot run() { return test::make_trace({.n_tokens = 9, .n_layers = 3, .n_dense = 1, .policy = "k=2"}); }

TEST(Export, CsvHasALinePerTokenLayerAndExpert) {
    const TraceSnapshot trace = run();
    const auto csv = csv_of(trace);
    ASSERT_TRUE(csv);
    size_t expected = 1;
    for (int t = 0; t < trace.n_tokens(); ++t)
        for (int m = 0; m < trace.n_moe_layers(); ++m) expected += trace.ids(m, t).size();
    std::string flat = *csv;   // line ends inside of quoted fields are no ends of rows
    bool quoted = false;
    size_t n_rows = 0;
    for (const char c : flat) {
        quoted ^= c == '"';
        n_rows += c == '\n' && !quoted;
    }
    EXPECT_EQ(n_rows, expected);
    const std::string first = fmt::format("0,1,\"<s>\",prefill,\"native\",1,1,{},{:.9g},", trace.ids(0, 0)[0], trace.weights(0, 0)[0]);
    EXPECT_NE(csv->find(first), std::string::npos) << csv->substr(0, 400);
}

TEST(Export, JsonHoldsWhatTheTraceHolds) {
    const TraceSnapshot trace = run();
    const auto text = json_of(trace);
    ASSERT_TRUE(text);
    const auto json = nlohmann::json::parse(*text);
    EXPECT_EQ(json["run"]["tokens"], 9);
    ASSERT_EQ(json["tokens"].size(), 9u);
    const auto& layer = json["tokens"][8]["layers"][1];
    EXPECT_EQ(layer["layer"], 2);
    EXPECT_EQ(layer["experts"][1], trace.ids(1, 8)[1]);
    EXPECT_FLOAT_EQ(layer["weights"][1].get<float>(), trace.weights(1, 8)[1]);
    EXPECT_TRUE(json["tokens"][0]["logprob"].is_null());
}

TEST(Export, NpzComesBackAsTheSameRoutes) {
    const TraceSnapshot trace = run();
    const test::TempDir dir;
    const auto npz = npz_of(trace);
    ASSERT_TRUE(npz);
    test::write_bytes(dir / "run.npz", *npz);
    const auto again = open_trace(dir / "run.npz");
    ASSERT_TRUE(again) << again.error().message();
    ASSERT_EQ(again->n_tokens(), trace.n_tokens());
    EXPECT_EQ(again->info().moe_layers, trace.info().moe_layers);
    EXPECT_EQ(again->n_experts(), trace.n_experts());
    EXPECT_TRUE(again->has_logits());
    for (int t = 0; t < trace.n_tokens(); ++t)
        for (int m = 0; m < trace.n_moe_layers(); ++m) {
            EXPECT_TRUE(std::ranges::equal(again->ids(m, t), trace.ids(m, t)));
            EXPECT_TRUE(std::ranges::equal(again->weights(m, t), trace.weights(m, t)));
            EXPECT_TRUE(std::ranges::equal(again->logits(m, t), trace.logits(m, t)));
            EXPECT_EQ(again->token(t).phase, trace.token(t).phase);
        }
}

TEST(Export, WhatARunLacksStaysEmpty) {
    const test::TempDir dir;
    test::write_bytes(dir / "x.txt", "0 0 1 3:0.6000 1:0.4000\n1 0 2 5:0.5500 1:0.4500\n");
    const auto trace = open_trace(dir / "x.txt");
    ASSERT_TRUE(trace) << trace.error().message();
    EXPECT_NE(csv_of(*trace)->find("0,,\"\",decode,\"native\",1,1,3,0.600000024,,,,\n"), std::string::npos) << *csv_of(*trace);
    const auto json = nlohmann::json::parse(*json_of(*trace));
    EXPECT_TRUE(json["tokens"][0]["id"].is_null());
    EXPECT_TRUE(json["tokens"][0]["layers"][0]["margin"].is_null());
    EXPECT_EQ(json["run"]["imported_from"], "ROUTE_TRACE text");
}

TEST(Export, BytesThatAreNoTextBecomeVisible) {
    EXPECT_EQ(printable_utf8("caf\xc3\xa9 \xc3 \xff"), "caf\xc3\xa9 \\xC3 \\xFF");
    EXPECT_EQ(printable_utf8("\xed\xa0\x80"), "\\xED\\xA0\\x80");   // a surrogate
}

TEST(Export, NumPyOpensTheArchiveAndReadsItsOwnWriting) {
    const char* named = std::getenv("GATESCOPE_PYTHON");
    const std::string python = named && *named ? named : "python3";
    if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << python << " has no numpy";
    const test::TempDir dir;
    const TraceSnapshot trace = run();
    test::write_bytes(dir / "run.npz", *npz_of(trace));
    const std::string script =
        "import sys, numpy as n\n"
        "d = n.load(sys.argv[1] + '/run.npz')\n"
        "assert d['expert_ids'].shape[:2] == (9, 2) and d['router_logits'].shape == (9, 2, 16), d['router_logits'].shape\n"
        "z = d['router_logits'].astype('f8'); p = n.exp(z - z.max(-1, keepdims=True)); p /= p.sum(-1, keepdims=True)\n"
        "assert n.allclose(p, d['preference'], atol=1e-6)\n"
        "n.savez_compressed(sys.argv[1] + '/own.npz', routed_experts=n.arange(12, dtype='i2').reshape(2, 2, 3), token_ids=n.array([7, 8]))\n"
        "n.save(sys.argv[1] + '/own.npy', n.arange(12, dtype='u1').reshape(1, 3, 4))\n";
    test::write_bytes(dir / "check.py", script);
    ASSERT_EQ(std::system(fmt::format("'{}' '{}' '{}'", python, (dir / "check.py").string(), dir.path().string()).c_str()), 0);
    const auto own = open_trace(dir / "own.npz");
    ASSERT_TRUE(own) << own.error().message();
    EXPECT_EQ(own->token(1).id, 8);
    EXPECT_EQ(own->ids(1, 1)[2], 11);
    const auto array = open_trace(dir / "own.npy");
    ASSERT_TRUE(array) << array.error().message();
    EXPECT_EQ(array->ids(2, 0)[3], 11);
}

}  // namespace
}  // namespace gs
