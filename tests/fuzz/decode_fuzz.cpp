// Fuzz target: a model file that loads must run. A few tokens through every kind of back end, a comparison of gates, a short answer.
//
// Input: a GGUF file, of which the end of the data may be left out (see kTail).
#include <array>
#include <cmath>
#include <memory>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/model/model.h"
#include "engine/run/generator.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_file.h"

namespace gs {
namespace {

// Data that an input lacks: small numbers of both signs, so that an input need only be a header. Of quantized types, any bits at all.
constexpr size_t kTail = 64 << 10;
constexpr size_t kLargest = 256 << 10;
constexpr int kContext = 12, kPrompt = 3;

std::vector<std::byte> with_tail(std::span<const std::byte> bytes) {
    std::vector<std::byte> file(bytes.size() + kTail);
    std::copy(bytes.begin(), bytes.end(), file.begin());
    for (size_t i = 0; i < kTail / sizeof(float); ++i) {
        const float value = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 64.0f;
        // Data begin at a multiple of 32 and so hardly ever where an input ends.
        const size_t at = (bytes.size() + 31) / 32 * 32 + i * sizeof(float);
        if (at + sizeof value <= file.size()) std::memcpy(file.data() + at, &value, sizeof value);
    }
    return file;
}

std::shared_ptr<Ops> make_ops(size_t choice) {
    static const std::array<std::shared_ptr<Ops>, 3> kept{make_cpu_ops({.n_threads = 1, .precision = Precision::kFast}),
                                                          make_cpu_ops({.n_threads = 1, .precision = Precision::kExact}), make_reference_ops()};
    return kept[choice % kept.size()];
}

/// Non-finite numbers are reported, whatever else is wrong with them.
void check(const Result<void>& result) {
    if (result) return;
    GS_CHECK(result.error().code == "nonfinite_weights" || result.error().code == "context_full", "a model that loads cannot run");
}

void run_tokens(Decoder& decoder) {
    const ModelSpec& spec = decoder.model().spec;
    std::vector<int32_t> ids;
    for (int t = 0; t < kPrompt; ++t) ids.push_back(t * 7 % spec.n_vocab);
    check(decoder.forward(ids, 0, LogitRows::kAll));
    GS_CHECK(decoder.logits(kPrompt - 1).size() == static_cast<size_t>(spec.n_vocab), "logits of another size than the vocabulary");
    int position = kPrompt;
    for (const char* text : {"soft", "hard", "k=1,weights=one"}) {
        if (!spec.is_moe()) break;
        decoder.set_policy(*Policy::parse(text));
        check(decoder.forward(std::span(ids).first(1), position++, LogitRows::kLast));
    }
    if (!spec.is_moe()) return;
    const Result<Decoder::Probe> probe = decoder.probe(ids[1], 1, static_cast<int>(spec.moe_layers.size()) - 1);
    GS_CHECK(probe, "experts cannot be compared");
    if (probe->weighed_output) static_cast<void>(probe->weighed_output(0, 0.5f));
}

void answer(Decoder& decoder) {
    RunRequest request{.prompt = "AB C", .max_new_tokens = 2};
    const auto generator = Generator::start(decoder, request, 1);
    if (!generator) {
        GS_CHECK(generator.error().code == "empty_prompt" || generator.error().code == "prompt_too_long", "a model that loads takes no prompt");
        return;
    }
    while (!(*generator)->done()) check((*generator)->step());
    const RunResult result = (*generator)->result();
    GS_CHECK(result.trace.n_tokens() >= result.n_prompt_tokens, "a run without its prompt");
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(decode) {
    using namespace gs;
    if (size > kLargest) return 0;
    const std::vector<std::byte> bytes = with_tail({reinterpret_cast<const std::byte*>(data), size});
    if (!GgufFile::parse(bytes)) return 0;   // the target gguf reads those
    const test::MemoryFile file(bytes);
    const Reading reading = size % 2 == 0 ? Reading::kLlamaCpp : Reading::kReference;
    const auto model = Model::load(file.path(), {.n_ctx = kContext, .reading = reading});
    if (!model) return 0;
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(*model, make_ops(size / 2), {});
    GS_CHECK(decoder, "there is no memory for a small model");
    run_tokens(**decoder);
    answer(**decoder);
    return 0;
}
