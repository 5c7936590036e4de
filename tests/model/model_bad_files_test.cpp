// Every file of goldens/bad: the class its index names, or it loads. Never a crash.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/model/model.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

struct BadFile {
    std::string file, stage;
    std::vector<std::string> classes;   ///< any of them is right
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.file; }

std::vector<BadFile> bad_files() {
    std::ifstream in(test::golden("bad/index.json"));
    std::vector<BadFile> files;
    for (const nlohmann::json& entry : nlohmann::json::parse(in)) {
        BadFile bad{entry["file"], entry["stage"], {entry["class"]}};
        for (const nlohmann::json& other : entry.value("or", nlohmann::json::array())) bad.classes.push_back(other);
        // Non-finite weights are found by a forward pass; loading is right too.
        if (bad.stage == "run") bad.classes.push_back("ok");
        files.push_back(std::move(bad));
    }
    return files;
}

class ModelBadFiles : public testing::TestWithParam<BadFile> {};

template <class T>
void expect_class(const BadFile& bad, const Result<T>& result, const char* by) {
    const std::string code = result ? "ok" : result.error().code;
    EXPECT_TRUE(std::find(bad.classes.begin(), bad.classes.end(), code) != bad.classes.end())
        << by << " gives " << code << ", the index " << bad.classes.front() << (result ? "" : ": " + result.error().message());
    if (result) return;
    EXPECT_EQ(result.error().kind, ErrorKind::kInput);
    const std::string message = result.error().message();
    for (const unsigned char c : message) EXPECT_TRUE(c >= 0x20 && c != 0x7f) << "a control character in: " << message;
    EXPECT_FALSE(result.error().remedy.empty()) << message;
}

TEST_P(ModelBadFiles, GivesItsClass) {
    const BadFile& bad = GetParam();
    const auto path = test::golden("bad/" + bad.file);
    if (bad.stage == "container") {
        expect_class(bad, GgufFile::open(path), "the container reader");
        if (bad.classes.front() != "ok") expect_class(bad, Model::load(path, {}), "Model::load");
        return;
    }
    expect_class(bad, Model::load(path, {}), "Model::load");
    if (bad.stage == "model") expect_class(bad, estimate_model(path, 0), "estimate_model");
}

INSTANTIATE_TEST_SUITE_P(All, ModelBadFiles, testing::ValuesIn(bad_files()), [](const auto& bad) {
    std::string id = bad.param.file;
    std::replace_if(id.begin(), id.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
    return id;
});

TEST(ModelBadFiles, TheNameShownIsSafe) {
    const auto estimate = estimate_model(test::golden("bad/ok-name-with-escapes.gguf"), 0);
    ASSERT_TRUE(estimate) << estimate.error().message();
    EXPECT_EQ(estimate->spec.name, "evil\\x1B[2J\\xE2\\x80\\xAEtxt.exe\\x07");
}

}  // namespace
}  // namespace gs
