// Fuzz target: everything that `gatescope info` and the loader read from a GGUF file before the first token.
#include <vector>

#include "engine/model/gguf.h"
#include "engine/model/model.h"
#include "engine/model/model_sizes.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_file.h"

namespace gs {
namespace {

// Tensor data mean nothing here, so an input need only be a header: the data are these zeros. Mutations then hit what is parsed.
constexpr size_t kPadding = 64 << 10;

void check_error(const Error& error) {
    GS_CHECK(!error.code.empty() && !error.why.empty() && !error.remedy.empty(), "an error does not say what failed");
    for (const unsigned char c : error.message()) GS_CHECK(c >= 0x20 && c != 0x7f, "an error has control characters");
}

void read_everything(const GgufFile& file) {
    for (const GgufEntry& entry : file.entries()) {
        GS_CHECK(file.has(entry.key) || entry.key.find('\\') != std::string::npos || entry.key.size() > 180, "a listed key is not found");
        static_cast<void>(file.get_uint(entry.key));
        static_cast<void>(file.get_float(entry.key));
        static_cast<void>(file.get_bool(entry.key));
        static_cast<void>(file.get_string(entry.key));
        const Result<std::vector<int64_t>> integers = file.get_int_array(entry.key);
        const Result<std::vector<float>> floats = file.get_float_array(entry.key);
        const Result<std::vector<std::string_view>> texts = file.get_string_array(entry.key);
        if (integers) GS_CHECK(integers->size() == file.array_size(entry.key), "an array lost elements");
        if (floats) GS_CHECK(floats->size() == file.array_size(entry.key), "an array lost elements");
        if (texts) GS_CHECK(texts->size() == file.array_size(entry.key), "an array lost elements");
    }
    uint64_t sum = 0;
    for (const GgufTensor& tensor : file.tensors()) {
        GS_CHECK(file.find(tensor.name), "a tensor is not found by its name");
        sum += tensor.n_bytes;
        // The sanitizer sees a read outside the file.
        if (tensor.n_bytes > 0) sum += static_cast<uint64_t>(tensor.data[0]) + static_cast<uint64_t>(tensor.data[tensor.n_bytes - 1]);
    }
    GS_CHECK(sum == 0 || !file.tensors().empty(), "bytes without a tensor");
}

void read_model(const GgufFile& file, Reading reading) {
    Result<ModelSpec> spec = read_model_spec(file, reading);
    if (!spec) return check_error(spec.error());
    std::vector<std::string> warnings;
    const Result<ModelWeights> weights = bind_weights(file, *spec, warnings);
    if (!weights) return check_error(weights.error());
    const ModelSizes sizes = measure_model(*spec, *weights);
    GS_CHECK(sizes.active_params <= sizes.total_params, "more parameters in use than there are");
    GS_CHECK(sizes.weight_bytes <= file.n_bytes(), "more weights than the file has bytes");
    GS_CHECK(kv_bytes(*spec, 1, KvType::kF16) <= kv_bytes(*spec, 1 << 20, KvType::kF16), "a longer context takes less memory");
    static_cast<void>(work_bytes(*spec));
    for (const Weight& w : weights->matrices()) GS_CHECK(w.n_in > 0 && w.n_out > 0 && w.n_slabs > 0, "an empty matrix");
}

void read_tokenizer(const GgufFile& file) {
    std::vector<std::string> warnings;
    const Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(file, warnings);
    if (!tokenizer) return check_error(tokenizer.error());
    for (const int32_t id : (*tokenizer)->encode("A llama, 12 < 3!\n", SpecialTokens::kParse))
        GS_CHECK(id >= 0 && id < (*tokenizer)->n_tokens(), "a token outside the vocabulary");
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(gguf) {
    using namespace gs;
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    if (const Result<GgufFile> file = GgufFile::parse(bytes)) {
        read_everything(*file);
    } else {
        check_error(file.error());
    }
    std::vector<std::byte> padded(bytes.begin(), bytes.end());
    padded.resize(size + kPadding);
    const Result<GgufFile> file = GgufFile::parse(padded);
    if (!file) return 0;
    read_everything(*file);
    read_model(*file, Reading::kLlamaCpp);
    read_model(*file, Reading::kReference);
    read_tokenizer(*file);
    // The same by way of a path, which split files and the mapping take.
    const test::MemoryFile on_disk(padded);
    const Result<ModelEstimate> estimate = estimate_model(on_disk.path(), 0);
    if (!estimate) check_error(estimate.error());
    return 0;
}
