#include "engine/io/import_trace.h"

#include <fstream>
#include <new>

#include <fmt/format.h>

#include "engine/io/import_builder.h"
#include "engine/io/import_formats.h"
#include "engine/io/trace_file.h"

namespace gs {
namespace {

// In the order in which they are asked.
constexpr Importer kImporters[] = {
    {"BigMoeOnEdge CSV", ".csv", "router logits, token ids, text", is_big_moe_csv, read_big_moe_csv},
    {"moe-trace CSV", ".csv", "router logits, weights, token ids, text, in the form of the pull request k", is_moe_trace_csv, read_moe_trace_csv},
    {"ROUTE_TRACE text", ".txt .trace .log", "router logits, token ids, text, number of experts", is_route_text, read_route_text},
    {"routed-experts array (.npy)", ".npy", "router logits, weights, token ids, text, number of experts", is_npy, read_npy_routes},
    {"routed-experts arrays (.npz)", ".npz", "what is not among its arrays: router logits, weights, token ids; text", is_npz, read_npz_routes},
    {"OLMoE JSON lines", ".jsonl", "router logits, weights, text, number of experts", is_sequence_jsonl, read_sequence_jsonl},
    {"routing events (JSON lines)", ".jsonl", "router logits, token ids, text, number of experts", is_event_jsonl, read_event_jsonl},
    {"server answer (JSON)", ".json", "router logits, weights, text, number of experts; token ids where the server was not asked for them", is_response, read_response},
};

std::string head_of(const std::filesystem::path& path) {
    std::string head(4096, '\0');
    std::ifstream in(path, std::ios::binary);
    in.read(head.data(), static_cast<std::streamsize>(head.size()));
    head.resize(static_cast<size_t>(std::max<std::streamsize>(in.gcount(), 0)));
    return head;
}

/// A safetensors file begins with the length of its JSON header and then the header.
bool is_safetensors(const std::filesystem::path& path, std::string_view head) {
    return path.extension() == ".safetensors" || (head.size() > 8 && head[8] == '{' && head[7] == 0 && head[6] == 0);
}

const Importer* importer_for(std::string_view head) {
    for (const Importer& importer : kImporters)
        if (importer.sniff(head)) return &importer;
    return nullptr;
}

}  // namespace

std::string lacks_text(const TraceLacks& lacks) {
    std::string text;
    const auto add = [&](bool is_lacking, const char* what) {
        if (is_lacking) text += std::string(text.empty() ? "It holds no " : ", no ") + what;
    };
    add(lacks.logits, "router logits (no preference, margin, entropy or what-if)");
    add(lacks.weights, "applied weights");
    add(lacks.token_ids, "token ids");
    add(lacks.text, "text");
    add(lacks.phases, "mark of what was generated");
    return text.empty() ? text : text + ".";
}

std::span<const Importer> importers() { return kImporters; }

const Importer* importer_of(const std::filesystem::path& path) { return importer_for(head_of(path)); }

Result<TraceSnapshot> open_trace(const std::filesystem::path& path) try {
    const std::string head = head_of(path);
    if (head.empty() || is_safetensors(path, head)) return load_trace(path);   // which says what is wrong with an empty one
    const Importer* importer = importer_for(head);
    if (!importer) {
        std::string known = "a trace file of Gatescope (.safetensors)";
        for (const Importer& it : kImporters) known += fmt::format(", {} ({})", it.name, it.extensions);
        return Error{ErrorKind::kInput, "unknown_trace", fmt::format("Cannot read {}", path.string()), "it is no recorded run that can be read here",
                     "What can be read: " + known};
    }
    Result<TraceSnapshot> trace = importer->read(path);
    if (trace) return trace;
    Error error = trace.error();
    error.what = fmt::format("Cannot import {} as {}", path.string(), importer->name);
    return error;
} catch (const std::bad_alloc&) {
    return Error{ErrorKind::kRun, "out_of_memory", fmt::format("Cannot import {}", path.string()), "there is not enough memory for it", "Close other programs"};
} catch (const std::exception& error) {
    return bad_import("bad_value", error.what());
}

}  // namespace gs
