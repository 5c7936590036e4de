// Golden folders without a forward pass over a prompt: quantized blocks, tokenizers, malformed files.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/decode/decoder.h"
#include "engine/io/safetensors.h"
#include "engine/model/model.h"
#include "engine/run/verify_impl.h"

namespace gs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<fs::path> files_of(const fs::path& dir, const std::string& extension) {
    std::vector<fs::path> files;
    for (const fs::directory_entry& entry : fs::directory_iterator(dir))
        if (entry.path().extension() == extension) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    return files;
}

const TensorTypeInfo* type_named(const std::string& name) {
    for (const TensorTypeInfo& type : all_tensor_types())
        if (name == type.name) return &type;
    return nullptr;
}

/// Decoding must be exact to the bit; 0 values may differ.
void check_decoding(const TensorTypeInfo& type, const SafeTensor& blocks, const std::vector<float>& expected, VerifyCase& c) {
    std::vector<float> decoded(expected.size());
    if (blocks.bytes.size() / type.block_bytes * type.block_values != expected.size()) return note(c, "the block size differs");
    type.dequantize(blocks.bytes.data(), blocks.bytes.size() / type.block_bytes, decoded.data());
    for (size_t i = 0; i < expected.size(); ++i) {
        ++c.rows;
        if (std::bit_cast<uint32_t>(decoded[i]) == std::bit_cast<uint32_t>(expected[i])) continue;
        ++c.rows_differ;
        note(c, fmt::format("value {} decodes to {}, not {}", i, decoded[i], expected[i]));
    }
}

/// y = x Wᵀ by the back end, relative to the largest |y| (README of the goldens, quant/).
void check_product(Ops& ops, const TensorTypeInfo& type, const SafeTensor& blocks, const std::vector<float>& x, const std::vector<float>& y,
                   int n_rows, int n_out, VerifyCase& c) {
    const int n_in = static_cast<int>(x.size()) / n_rows;
    const Weight weight{.type = type.type, .data = blocks.bytes.data(), .n_in = n_in, .n_out = n_out,
                        .row_bytes = static_cast<size_t>(n_in) / type.block_values * type.block_bytes};
    float* in = ops.allocate(x.size());
    float* out = ops.allocate(y.size());
    ops.write(x.data(), in, x.size());
    const LinearCall call{.weight = &weight, .out = {out, n_rows, n_out, n_out}};
    ops.linear({in, n_rows, n_in, n_in}, {&call, 1});
    std::vector<float> result(y.size());
    ops.read(out, result.data(), result.size());
    ops.release(in);
    ops.release(out);
    double largest = 0;
    for (const float value : y) largest = std::max(largest, std::abs(static_cast<double>(value)));
    const bool rounds = ops.precision() == Precision::kFast && type.block_values > 1;
    c.tolerance = 1e-5 * largest * (rounds ? kFastTolerance : 1);
    for (size_t i = 0; i < y.size(); ++i) {
        const double d = difference(static_cast<double>(result[i]), static_cast<double>(y[i]));
        c.max_abs_logit_diff = std::max(c.max_abs_logit_diff, d);
        if (d > c.tolerance) note(c, fmt::format("product {} is {}, not {}", i, result[i], y[i]));
    }
}

VerifyCase verify_block_file(const fs::path& path, Ops& ops) {
    VerifyCase c{.name = path.stem().string() + " blocks", .pass = true};
    const TensorTypeInfo* type = type_named(path.stem().string());
    if (!type || !type->dequantize) {
        note(c, "this version cannot compute with the type");
        return c;
    }
    const Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file) return failed_case(c.name, file.error());
    const SafeTensor *q = file->find("q"), *rand_q = file->find("rand_q"), *f32 = file->find("f32"), *rand_f32 = file->find("rand_f32");
    const SafeTensor *x = file->find("x"), *y = file->find("y");
    if (!q || !f32 || !x || !y) {
        note(c, "q, f32, x or y is missing");
        return c;
    }
    const auto decoded = f32->values<float>(), in = x->values<float>(), out = y->values<float>();
    if (!decoded || !in || !out || x->shape.size() != 2 || y->shape.size() != 2) {
        note(c, "f32, x and y must be matrices of F32");
        return c;
    }
    check_decoding(*type, *q, *decoded, c);
    if (rand_q && rand_f32) {
        const auto random = rand_f32->values<float>();
        if (random) check_decoding(*type, *rand_q, *random, c);
    }
    check_product(ops, *type, *q, *in, *out, static_cast<int>(x->shape[0]), static_cast<int>(y->shape[1]), c);
    if (c.pass) c.detail = fmt::format("{} values exact to the bit, and a product", c.rows);
    return c;
}

std::string from_hex(const std::string& hex) {
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    return bytes;
}

/// llama.cpp's ids, or, where the goldens have them, those of a full Unicode reading of the specification.
bool is_expected(const std::vector<int32_t>& ids, const json& test, const char* key) {
    if (ids == test.at(key).get<std::vector<int32_t>>()) return true;
    const std::string reference = std::string("reference_") + key;
    return test.contains(reference) && ids == test.at(reference).get<std::vector<int32_t>>();
}

/// Without what the "clean_spaces" passes of tokenizers.md section 8 remove: llama.cpp applied them to some goldens, and we never do.
std::string cleaned(std::string text) {
    const auto erase_space_before = [&](const std::string& what) {
        for (size_t at; (at = text.find(" " + what)) != std::string::npos;) text.erase(at, 1);
    };
    for (const char* mark : {"?", "!", ".", ","}) erase_space_before(mark);
    for (size_t at; (at = text.find(" ' ")) != std::string::npos;) text.erase(at + 2, 1).erase(at, 1);
    for (const char* ending : {"'s", "'m", "'re", "'ve"}) erase_space_before(ending);
    return text;
}

void check_text(const Tokenizer& tokenizer, const json& test, VerifyCase& c) {
    const std::string text = from_hex(test.at("hex").get<std::string>());
    const std::vector<int32_t> plain = tokenizer.encode(text, SpecialTokens::kAsText), special = tokenizer.encode(text, SpecialTokens::kParse);
    std::vector<int32_t> with_bos = plain;
    tokenizer.add_special(with_bos);
    ++c.rows;
    const bool same = is_expected(plain, test, "plain") && is_expected(special, test, "special") &&
                      (with_bos == test.at("add").get<std::vector<int32_t>>() || test.contains("reference_plain"));
    const std::string decoded = tokenizer.decode(special, true), expected = from_hex(test.at("detok_special").get<std::string>());
    const bool back = decoded == expected || cleaned(decoded) == expected;
    if (same && back) return;
    ++c.rows_differ;
    note(c, fmt::format("bytes {} give other {}", test.at("hex").get<std::string>(), same ? "text back" : "ids"));
}

VerifyCase verify_tokenizer_file(const fs::path& path) {
    VerifyCase c{.name = "tokenizer " + path.stem().string(), .pass = true};
    const json golden = read_json(path);
    const Result<GgufFile> vocabulary = GgufFile::open(path.parent_path() / golden.at("vocab").get<std::string>());
    if (!vocabulary) return failed_case(c.name, vocabulary.error());
    std::vector<std::string> names = {golden.at("model") == "llama" ? std::string() : golden.at("pre").get<std::string>()};
    if (golden.contains("same_as") && !names[0].empty())
        for (const json& name : golden["same_as"]) names.push_back(name.get<std::string>());
    for (const std::string& name : names) {
        std::vector<std::string> warnings;
        const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(*vocabulary, warnings, name);
        if (!tokenizer) return failed_case(c.name, tokenizer.error());
        for (const json& test : golden.at("cases")) check_text(**tokenizer, test, c);
    }
    if (c.pass) c.detail = fmt::format("{} texts, ids and back, exact", c.rows);
    return c;
}

/// What a file gives, as a class of the goldens: "ok", or the error's code.
std::string class_of(const fs::path& path, const std::string& stage, const OpsFactory& make_ops) {
    if (stage == "container") {
        const Result<GgufFile> file = GgufFile::open(path);
        return file ? "ok" : file.error().code;
    }
    const Result<std::shared_ptr<const Model>> model = Model::load(path, {});
    if (!model || stage != "run") return model ? "ok" : model.error().code;
    const Result<std::unique_ptr<Decoder>> decoder = Decoder::create(*model, make_ops(), {});
    if (!decoder) return decoder.error().code;
    std::vector<int32_t> ids;
    for (int32_t id = 0; id < std::min({(*model)->spec.n_vocab, (*model)->n_ctx, 8}); ++id) ids.push_back(id);
    const Result<void> ran = (*decoder)->forward(ids, 0, LogitRows::kAll);
    return ran ? "ok" : ran.error().code;
}

}  // namespace

std::vector<VerifyCase> verify_blocks(const fs::path& dir, const OpsFactory& make_ops) {
    std::vector<VerifyCase> cases;
    const std::shared_ptr<Ops> ops = make_ops();
    for (const fs::path& path : files_of(dir, ".safetensors"))
        if (path.stem() != "input") cases.push_back(verify_block_file(path, *ops));
    return cases;
}

std::vector<VerifyCase> verify_tokenizer(const fs::path& dir) {
    std::vector<VerifyCase> cases;
    for (const fs::path& path : files_of(dir, ".json"))
        if (path.stem() != "classes") cases.push_back(verify_tokenizer_file(path));
    return cases;
}

std::vector<VerifyCase> verify_bad(const fs::path& dir, const OpsFactory& make_ops) {
    std::vector<VerifyCase> cases;
    for (const json& entry : read_json(dir / "index.json")) {
        const std::string file = entry.at("file").get<std::string>();
        VerifyCase c{.name = "bad/" + file, .pass = true};
        std::vector<std::string> allowed = {entry.at("class").get<std::string>()};
        if (entry.contains("or"))
            for (const json& other : entry["or"]) allowed.push_back(other.get<std::string>());
        const std::string got = class_of(dir / file, entry.at("stage").get<std::string>(), make_ops);
        c.rows = 1;
        c.detail = got;
        if (std::find(allowed.begin(), allowed.end(), got) == allowed.end()) {
            c.pass = false;
            c.rows_differ = 1;
            c.detail = fmt::format("{}, not {}", got, fmt::join(allowed, " or "));
        }
        cases.push_back(c);
    }
    return cases;
}

}  // namespace gs
