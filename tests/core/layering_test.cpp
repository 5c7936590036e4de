// Which folder may include which (README.md, "Map of the folders"): reads the #include lines of all sources.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "tests/support/paths.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

struct Include {
    std::string from, to;  ///< path of the source, text of the include
    bool quoted = false;
};

/// What a line includes: `#include "x"` or `#include <x>`, blanks allowed before and after the `#`; none for other lines.
std::optional<Include> parse_include(std::string_view line) {
    const auto skip_blanks = [&] { line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size())); };
    skip_blanks();
    if (!line.starts_with('#')) return std::nullopt;
    line.remove_prefix(1);
    skip_blanks();
    if (!line.starts_with("include")) return std::nullopt;
    line.remove_prefix(7);
    skip_blanks();
    if (!line.starts_with('"') && !line.starts_with('<')) return std::nullopt;
    const bool quoted = line.front() == '"';
    line.remove_prefix(1);
    const size_t end = line.find(quoted ? '"' : '>');
    if (end == std::string_view::npos) return std::nullopt;
    return Include{"", std::string(line.substr(0, end)), quoted};
}

std::vector<Include> includes_of(const std::vector<std::string>& roots) {
    std::vector<Include> out;
    for (const std::string& root : roots) {
        if (!fs::exists(test::source(root))) continue;
        for (const auto& entry : fs::recursive_directory_iterator(test::source(root))) {
            const std::string ending = entry.path().extension().string();
            if (ending != ".h" && ending != ".cpp" && ending != ".cu" && ending != ".cuh" && ending != ".hpp") continue;
            std::ifstream in(entry.path());
            for (std::string line; std::getline(in, line);) {
                if (auto include = parse_include(line)) {
                    include->from = fs::relative(entry.path(), test::source()).string();
                    out.push_back(std::move(*include));
                }
            }
        }
    }
    return out;
}

/// "engine/ops/cpu/gemm.h" -> "engine/ops": layers are the first two names of a path.
std::string layer_of(const std::string& path) {
    const size_t first = path.find('/');
    const size_t second = first == std::string::npos ? first : path.find('/', first + 1);
    return path.substr(0, second);
}

/// core <- routing <- {io, model <- ops <- decode <- run}; run may include io.
const std::map<std::string, std::set<std::string>>& allowed() {
    static const std::map<std::string, std::set<std::string>> layers = {
        {"engine/core", {}},
        {"engine/routing", {"engine/core"}},
        {"engine/io", {"engine/core", "engine/routing"}},
        {"engine/model", {"engine/core", "engine/routing"}},
        {"engine/ops", {"engine/core", "engine/routing", "engine/model"}},
        {"engine/decode", {"engine/core", "engine/routing", "engine/model", "engine/ops"}},
        {"engine/run", {"engine/core", "engine/routing", "engine/io", "engine/model", "engine/ops", "engine/decode"}},
    };
    return layers;
}

bool may_include(const std::string& from, const std::string& to) {
    const std::string layer = layer_of(from), target = layer_of(to);
    if (layer == target) return true;
    if (from.starts_with("engine/")) return allowed().contains(layer) && allowed().at(layer).contains(target);
    const bool draws = layer == "app/views" || layer == "app/widgets";
    if (draws) return target != "app/shell" && target != "app/cli" && target != "engine/ops" && target != "engine/decode";
    return !to.starts_with("tests/");
}

TEST(Layering, TheRulesKnowGoodFromBad) {
    EXPECT_TRUE(may_include("engine/io/trace_file.cpp", "engine/routing/trace.h"));
    EXPECT_TRUE(may_include("engine/ops/cpu/fast.cpp", "engine/ops/ops.h"));
    EXPECT_TRUE(may_include("engine/run/session.cpp", "engine/io/trace_file.h"));
    EXPECT_TRUE(may_include("app/cli/run.cpp", "engine/decode/decoder.h"));
    EXPECT_TRUE(may_include("app/views/heatmap_view.cpp", "engine/routing/trace.h"));
    EXPECT_FALSE(may_include("engine/core/result.h", "engine/routing/router.h"));
    EXPECT_FALSE(may_include("engine/routing/trace.cpp", "engine/io/trace_file.h"));
    EXPECT_FALSE(may_include("engine/model/model.cpp", "engine/ops/ops.h"));
    EXPECT_FALSE(may_include("engine/decode/decoder.cpp", "engine/io/safetensors.h"));
    EXPECT_FALSE(may_include("engine/run/session.cpp", "app/views/view.h"));
    EXPECT_FALSE(may_include("engine/new/thing.cpp", "engine/core/result.h")) << "a new layer must be entered here first";
    EXPECT_FALSE(may_include("app/views/heatmap_view.cpp", "app/shell/window.h"));
    EXPECT_FALSE(may_include("app/widgets/heatmap.cpp", "engine/ops/ops.h"));
    EXPECT_FALSE(may_include("app/cli/run.cpp", "tests/support/paths.h"));
}

TEST(Layering, FindsIncludesHoweverTheyAreWritten) {
    EXPECT_EQ(parse_include("#include \"engine/core/result.h\"  // why")->to, "engine/core/result.h");
    EXPECT_EQ(parse_include("  #  include <vector>")->to, "vector");
    EXPECT_TRUE(parse_include("#include \"a.h\"")->quoted);
    EXPECT_FALSE(parse_include("#include <a.h>")->quoted);
    EXPECT_FALSE(parse_include("// #include \"a.h\""));
    EXPECT_FALSE(parse_include("#define include"));
}

TEST(Layering, EveryIncludeGoesAnAllowedWay) {
    const std::vector<Include> includes = includes_of({"engine", "app"});
    const auto own = std::count_if(includes.begin(), includes.end(), [](const Include& i) { return i.to.starts_with("engine/"); });
    EXPECT_GT(own, 50) << "the includes were not found at all";
    for (const Include& include : includes) {
        const bool ours = include.to.starts_with("engine/") || include.to.starts_with("app/") || include.to.starts_with("tests/");
        if (ours) {
            EXPECT_TRUE(may_include(include.from, include.to)) << include.from << " includes " << include.to;
        }
    }
}

TEST(Layering, TheEngineKnowsNoWindowAndNoGraphics) {
    for (const Include& include : includes_of({"engine"})) {
        for (const char* part : {"imgui", "implot", "GLFW", "glfw", "vulkan", "X11", "stb_"}) {
            EXPECT_EQ(include.to.find(part), std::string::npos) << include.from << " includes " << include.to;
        }
    }
}

TEST(Layering, OurOwnFilesAreIncludedFromTheRootAndExist) {
    for (const Include& include : includes_of({"engine", "app", "tests"})) {
        const bool ours = include.to.starts_with("engine/") || include.to.starts_with("app/") || include.to.starts_with("tests/");
        if (!ours && !(include.quoted && include.from.starts_with("engine/"))) continue;
        EXPECT_TRUE(fs::exists(test::source(include.to)))
            << include.from << " includes " << include.to << ", which is not a path from the root";
    }
}

}  // namespace
}  // namespace gs
