// Fuzz target: trace files, and safetensors files of any other kind. What loads keeps every promise of trace.h and comes back when it is saved.
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "engine/io/safetensors.h"
#include "engine/io/trace_file.h"
#include "engine/io/trace_schema.h"
#include "engine/routing/metrics.h"
#include "engine/routing/what_if.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/memory_file.h"
#include "tests/support/make_trace.h"

namespace gs {
namespace {

void check_error(const Error& error) {
    GS_CHECK(!error.code.empty() && !error.what.empty() && !error.why.empty(), "an error does not say what failed");
}

void read_container(const std::filesystem::path& path) {
    const Result<SafetensorsFile> file = SafetensorsFile::open(path);
    if (!file) return check_error(file.error());
    for (const std::string& name : file->names()) {
        const SafeTensor* tensor = file->find(name);
        GS_CHECK(tensor, "a tensor is not found by its name");
        uint64_t n = safetensors_element_bytes(tensor->dtype);
        for (const int64_t dim : tensor->shape) n *= static_cast<uint64_t>(dim);
        GS_CHECK(n == tensor->bytes.size(), "a tensor has another size than its shape");
        const bool read = tensor->values<float>() || tensor->values<double>() || tensor->values<int32_t>() || tensor->values<int64_t>() ||
                          tensor->values<uint16_t>() || tensor->values<uint8_t>();
        GS_CHECK(read || tensor->dtype.size() > 0, "a tensor without a type");
    }
}

/// What the panels ask of a replayed run.
void look_at(const TraceSnapshot& trace) {
    const int n_experts = trace.n_experts();
    for (int m = 0; m < trace.n_moe_layers(); ++m) {
        const LayerLoad load = layer_load(trace, m, PhaseFilter::kBoth);
        GS_CHECK(load.counts.size() == static_cast<size_t>(n_experts), "a load without its experts");
        const BalanceMetrics metrics = balance(load.counts);
        GS_CHECK(metrics.effective_experts <= n_experts * 1.001, "more experts in use than there are");
        GS_CHECK(trace.n_tokens() == 0 || std::abs(route_agreement(trace, trace, m, trace.n_tokens()) - 1) < 1e-9, "a run disagrees with itself");
        for (int t = 0; t < trace.n_tokens(); ++t) static_cast<void>(selection_margin(trace.logits(m, t), trace.ids(m, t)));
    }
    if (n_experts == 0 || trace.n_moe_layers() == 0) return;
    for (const char* text : {"native", "soft", "hard", "k=1", "temp=0.5,weights=native-sum", "mask@*=0:1", "mask@*=0,force@*=1"}) {
        const Policy policy = *Policy::parse(text);
        if (!policy.check(trace.info().router, trace.info().n_layers)) continue;
        const TraceSnapshot other = what_if_trace(trace, policy);
        GS_CHECK(other.n_tokens() == trace.n_tokens(), "another policy loses tokens");
        for (int t = 0; t < other.n_tokens(); ++t)
            for (int m = 0; m < other.n_moe_layers(); ++m) GS_CHECK(!other.ids(m, t).empty(), "a token uses no expert");
    }
}

void read_trace(const std::filesystem::path& path) {
    const Result<TraceSnapshot> trace = load_trace(path);
    if (!trace) return check_error(trace.error());
    look_at(*trace);
    const std::filesystem::path copy = test::scratch_folder() / "copy.safetensors";
    const Result<void> saved = save_trace(*trace, copy);
    GS_CHECK(saved, "a trace that loads cannot be saved");
    const Result<TraceSnapshot> again = load_trace(copy);
    GS_CHECK(again, "a saved trace does not load");
    std::string why;
    GS_CHECK(test::same_run(*trace, *again, &why), "a saved trace is another one");
}

/// A well-formed container around a description: mutations of JSON inside JSON would hardly ever be read. Behind the description come its
/// sizes, then the values of all tensors.
void read_described(test::FuzzInput in) {
    const std::string description(in.until('\0'));
    const int64_t tokens = in.byte() % 8, layers = in.byte() % 4, experts = in.byte() % 9, k = in.byte() % 9, n_text = in.byte() % 64, n_prompt = in.byte() % 32;
    const bool biased = in.byte() % 2 != 0;
    struct Column {
        const char *name, *dtype;
        std::vector<int64_t> shape;
    };
    const Column columns[] = {{"token_ids", "I32", {tokens}}, {"phases", "U8", {tokens}}, {"special", "U8", {tokens}}, {"policy", "I32", {tokens}},
                              {"logprob", "F32", {tokens}}, {"entropy", "F32", {tokens}}, {"text_ends", "I64", {tokens}}, {"text", "U8", {n_text}},
                              {"prompt", "U8", {n_prompt}}, {"expert_ids", "U16", {tokens, layers, k}}, {"n_used", "U16", {tokens, layers}},
                              {"router_logits", "F32", {tokens, layers, experts}}, {"weights", "F32", {tokens, layers, k}},
                              {"selection_bias", "F32", {layers, experts}}};
    std::vector<SafetensorsEntry> entries;
    std::vector<std::vector<std::byte>> values;
    std::string_view rest = in.rest();
    for (const Column& column : columns) {
        if (&column == std::end(columns) - 1 && !biased) break;
        size_t n = safetensors_element_bytes(column.dtype);
        for (const int64_t dim : column.shape) n *= static_cast<size_t>(dim);
        values.emplace_back(n);
        const size_t given = std::min(n, rest.size());
        if (given > 0) std::memcpy(values.back().data(), rest.data(), given);
        rest.remove_prefix(given);
        entries.push_back({column.name, column.dtype, column.shape, values.back()});
    }
    const std::filesystem::path path = test::scratch_folder() / "described.safetensors";
    GS_CHECK(write_safetensors(path, {{trace_schema::kKey, description}}, entries), "cannot write a trace");
    read_trace(path);
}

}  // namespace
}  // namespace gs

GS_FUZZ_TARGET(trace) {
    using namespace gs;
    const test::MemoryFile file({reinterpret_cast<const std::byte*>(data), size});
    read_container(file.path());
    read_trace(file.path());
    if (size > 0 && data[0] == '{') read_described(test::FuzzInput(data, size));
    return 0;
}
