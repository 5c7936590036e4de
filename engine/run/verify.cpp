#include "engine/run/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "engine/run/verify_impl.h"

namespace gs {
namespace {

namespace fs = std::filesystem;

Error not_a_golden(const fs::path& dir, const std::string& why) {
    return {ErrorKind::kInput, "not_a_golden", fmt::format("{} is not a golden folder", dir.string()), why,
            "Give a folder as described in tests/goldens/README.md: models/NAME, quant/models/NAME, quant/blocks, tokenizer or bad"};
}

/// The cases of one folder of a known kind; empty when it is of none.
std::vector<VerifyCase> verify_folder(const fs::path& dir, const OpsFactory& make_ops, const StageFactory& make_stages) {
    if (fs::exists(dir / "golden.json"))
        return verify_model(dir, make_stages ? make_stages : [&](int n_layers) { return std::vector<StageEngine>{{make_ops(), 0, n_layers}}; });
    if (fs::exists(dir / "classes.json")) return verify_tokenizer(dir);
    if (fs::exists(dir / "input.safetensors")) return verify_blocks(dir, make_ops);
    if (fs::exists(dir / "index.json")) return verify_bad(dir, make_ops);
    return {};
}

}  // namespace

nlohmann::json read_json(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return nlohmann::json::parse(file);
}

VerifyCase failed_case(std::string name, const Error& error) {
    VerifyCase c{.name = std::move(name)};
    c.greedy_equal = false;
    c.detail = error.message();
    return c;
}

Result<std::vector<VerifyCase>> verify_golden(const fs::path& dir, const OpsFactory& make_ops, const StageFactory& make_stages) {
    std::error_code ignored;
    if (!fs::is_directory(dir, ignored)) return not_a_golden(dir, "there is no such folder");
    try {
        std::vector<VerifyCase> cases = verify_folder(dir, make_ops, make_stages);
        if (!cases.empty()) return cases;
        // A folder of golden folders, such as tests/goldens/models.
        std::vector<fs::path> inside;
        for (const fs::directory_entry& entry : fs::directory_iterator(dir))
            if (entry.is_directory()) inside.push_back(entry.path());
        std::sort(inside.begin(), inside.end());
        for (const fs::path& path : inside) {
            const std::vector<VerifyCase> more = verify_folder(path, make_ops, make_stages);
            cases.insert(cases.end(), more.begin(), more.end());
        }
        if (!cases.empty()) return cases;
        return not_a_golden(dir, "it holds neither golden.json nor classes.json nor index.json");
    } catch (const nlohmann::json::exception& e) {
        return not_a_golden(dir, e.what());
    } catch (const fs::filesystem_error& e) {
        return not_a_golden(dir, e.what());
    }
}

}  // namespace gs
