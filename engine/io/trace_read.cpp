// The reader of trace files: the description (trace_description.cpp), then the tensors, checked and put together. What it lets through keeps every
// promise of trace.h, whoever wrote the file.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <new>

#include <fmt/format.h>

#include "engine/io/safetensors.h"
#include "engine/io/trace_description.h"
#include "engine/io/trace_file.h"

namespace gs {
namespace {

constexpr int64_t kMaxTokens = 1 << 24;

/// A tensor of the file by name, with the shape it must have.
template <class T>
Result<std::vector<T>> column(const SafetensorsFile& file, const char* name, const std::vector<int64_t>& shape) {
    const SafeTensor* tensor = file.find(name);
    if (!tensor) return bad_trace(fmt::format("tensor \"{}\" is missing", name), "missing_tensor");
    if (tensor->shape != shape) {
        return bad_trace(
            fmt::format("tensor \"{}\" has shape [{}] instead of [{}]", name, fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")),
            "shape_mismatch");
    }
    Result<std::vector<T>> values = tensor->values<T>();
    if (!values) return bad_trace(fmt::format("tensor \"{}\" {}", name, values.error().why));
    return values;
}

Result<int64_t> size_of(const SafetensorsFile& file, const char* name, size_t n_dims, size_t dim) {
    const SafeTensor* tensor = file.find(name);
    if (!tensor) return bad_trace(fmt::format("tensor \"{}\" is missing", name), "missing_tensor");
    if (tensor->shape.size() != n_dims)
        return bad_trace(fmt::format("tensor \"{}\" does not have {} dimensions", name, n_dims), "shape_mismatch");
    return tensor->shape[dim];
}

struct Columns {
    int64_t n_tokens = 0, k_max = 0;
    std::vector<TokenRow> tokens;          ///< TokenRow::policy: index into the policies of the file
    std::vector<float> logits, weights;
    std::vector<uint16_t> ids, n_used;
};

Result<void> read_tokens(const SafetensorsFile& file, size_t n_policies, Columns& out) {
    const std::vector<int64_t> shape = {out.n_tokens};
    GS_TRY(const int64_t n_text, size_of(file, "text", 1, 0));
    GS_TRY(const auto ids, column<int32_t>(file, "token_ids", shape));
    GS_TRY(const auto phases, column<uint8_t>(file, "phases", shape));
    GS_TRY(const auto special, column<uint8_t>(file, "special", shape));
    GS_TRY(const auto policy, column<int32_t>(file, "policy", shape));
    GS_TRY(const auto logprob, column<float>(file, "logprob", shape));
    GS_TRY(const auto entropy, column<float>(file, "entropy", shape));
    GS_TRY(const auto ends, column<int64_t>(file, "text_ends", shape));
    GS_TRY(const auto bytes, column<uint8_t>(file, "text", {n_text}));
    int64_t begin = 0;
    out.tokens.resize(ids.size());
    for (size_t t = 0; t < ids.size(); ++t) {
        if (ids[t] < 0) return bad_trace(fmt::format("token {}: negative id", t));
        if (phases[t] > 1 || special[t] > 1) return bad_trace(fmt::format("token {}: phase or special is not 0 or 1", t));
        if (policy[t] < 0 || static_cast<size_t>(policy[t]) >= n_policies) return bad_trace(fmt::format("token {}: no such policy", t));
        if (ends[t] < begin || ends[t] > n_text) return bad_trace(fmt::format("token {}: its text ends outside the text", t));
        TokenRow& row = out.tokens[t];
        row.id = ids[t];
        row.phase = static_cast<Phase>(phases[t]);
        row.special = special[t] != 0;
        row.policy = static_cast<uint32_t>(policy[t]);
        row.logprob = logprob[t];
        row.entropy = entropy[t];
        row.text.assign(bytes.begin() + begin, bytes.begin() + ends[t]);
        begin = ends[t];
    }
    if (begin != n_text) return bad_trace("text goes on after the last token");
    return {};
}

Result<void> read_routes(const SafetensorsFile& file, const TraceInfo& info, const std::vector<Policy>& policies, Columns& out) {
    const int64_t n_layers = info.n_moe_layers(), n_experts = info.router.n_experts;
    GS_TRY(out.k_max, size_of(file, "expert_ids", 3, 2));
    if (out.k_max > n_experts) return bad_trace("more experts per token than there are");
    if (!info.lacks.logits) {
        GS_TRY(out.logits, column<float>(file, "router_logits", {out.n_tokens, n_layers, n_experts}));
    }
    GS_TRY(out.ids, column<uint16_t>(file, "expert_ids", {out.n_tokens, n_layers, out.k_max}));
    if (!info.lacks.weights) {
        GS_TRY(out.weights, column<float>(file, "weights", {out.n_tokens, n_layers, out.k_max}));
    } else {
        out.weights.assign(out.ids.size(), std::numeric_limits<float>::quiet_NaN());
    }
    GS_TRY(out.n_used, column<uint16_t>(file, "n_used", {out.n_tokens, n_layers}));
    std::vector<size_t> last_row(static_cast<size_t>(n_experts), SIZE_MAX);  // where an expert was seen: twice in one row is an error
    for (size_t row = 0; row < out.n_used.size(); ++row) {
        const size_t k = out.n_used[row];
        const size_t least = policies[out.tokens[row / static_cast<size_t>(n_layers)].policy].is_by_batch() ? 0 : 1;   // there all may have been dropped
        if (k < least || k > static_cast<size_t>(out.k_max))
            return bad_trace(fmt::format("row {}: uses {} of at most {} experts", row, k, out.k_max));
        for (size_t j = 0; j < k; ++j) {
            const uint16_t id = out.ids[row * static_cast<size_t>(out.k_max) + j];
            if (id >= n_experts) return bad_trace(fmt::format("row {}: expert {} of {}", row, id, n_experts));
            if (last_row[id] == row) return bad_trace(fmt::format("row {}: expert {} comes twice", row, id));
            last_row[id] = row;
        }
    }
    return {};
}

Result<void> read_extras(const SafetensorsFile& file, TraceInfo& info) {
    GS_TRY(const int64_t n_prompt, size_of(file, "prompt", 1, 0));
    GS_TRY(const auto prompt, column<uint8_t>(file, "prompt", {n_prompt}));
    info.prompt.assign(prompt.begin(), prompt.end());
    if (!file.find("selection_bias")) return {};
    const auto n_experts = static_cast<std::ptrdiff_t>(info.router.n_experts);
    GS_TRY(const auto bias, column<float>(file, "selection_bias", {info.n_moe_layers(), info.router.n_experts}));
    if (!std::all_of(bias.begin(), bias.end(), [](float b) { return std::isfinite(b); }))
        return bad_trace("a selection bias is not finite");
    for (auto it = bias.begin(); it != bias.end(); it += n_experts) info.selection_bias.emplace_back(it, it + n_experts);
    return {};
}

TraceSnapshot build(TraceInfo info, const std::vector<Policy>& policies, const Columns& columns) {
    const int n_layers = info.n_moe_layers();
    const bool has_logits = !info.lacks.logits;
    const auto n_experts = static_cast<size_t>(info.router.n_experts), k_max = static_cast<size_t>(columns.k_max);
    TraceWriter writer(std::move(info));
    std::vector<int32_t> ids;
    size_t row = 0;
    for (const TokenRow& token : columns.tokens) {
        writer.begin_tokens(std::span(&token, 1), policies[token.policy]);
        for (int m = 0; m < n_layers; ++m, ++row) {
            const size_t k = columns.n_used[row];
            ids.assign(columns.ids.begin() + static_cast<std::ptrdiff_t>(row * k_max),
                       columns.ids.begin() + static_cast<std::ptrdiff_t>(row * k_max + k));
            const std::span<const float> logits = has_logits ? std::span(columns.logits).subspan(row * n_experts, n_experts) : std::span<const float>();
            writer.set_route(m, 0, logits, ids,
                             std::span(columns.weights).subspan(row * k_max, k));
        }
        writer.publish();
    }
    return writer.snapshot();
}

Result<TraceSnapshot> read_trace(const SafetensorsFile& file) {
    GS_TRY(TraceDescription description, read_trace_description(file));
    GS_TRY_VOID(read_extras(file, description.info));
    Columns columns;
    GS_TRY(columns.n_tokens, size_of(file, "token_ids", 1, 0));
    if (columns.n_tokens > kMaxTokens) return bad_trace(fmt::format("it has more than {} tokens", kMaxTokens));
    GS_TRY_VOID(read_tokens(file, description.policies.size(), columns));
    GS_TRY_VOID(read_routes(file, description.info, description.policies, columns));
    return build(std::move(description.info), description.policies, columns);
}

}  // namespace

Result<TraceSnapshot> load_trace(const std::filesystem::path& path) try {
    GS_TRY(const SafetensorsFile file, SafetensorsFile::open(path));
    Result<TraceSnapshot> trace = read_trace(file);
    if (trace) return trace;
    Error error = trace.error();
    error.what = fmt::format("Cannot read the trace {}", path.string());
    return error;
} catch (const std::bad_alloc&) {
    return Error{ErrorKind::kRun, "out_of_memory", fmt::format("Cannot read the trace {}", path.string()),
                 "there is not enough memory for it", "Close other programs"};
} catch (const std::exception& error) {
    return bad_trace(error.what());
}

}  // namespace gs
