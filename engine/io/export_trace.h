// A run in formats that other programs read: CSV for tables, JSON for scripts, NPZ for NumPy. The whole content of a file as text, to be written
// atomically by the caller.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace gs {

struct Exporter {
    const char* name;                            ///< "csv": --format, and the extension without its dot
    const char* what;                            ///< for people
    Result<std::string> (*write)(const TraceSnapshot& trace);
};
std::span<const Exporter> exporters();
/// Null: there is none of that name.
const Exporter* exporter_named(std::string_view name);

/// A line per token, layer and chosen expert, best first: token (from 0), token_id, text, phase, policy, layer (blk.N), rank, expert, weight, preference,
/// logit, logprob, entropy (nats). Fields that the run lacks are empty; bytes that are no UTF-8 become \xNN.
Result<std::string> csv_of(const TraceSnapshot& trace);
/// One object: identity, router, policies, tokens with ids, weights and margin of every MoE layer. Without the logits, which NPZ has.
Result<std::string> json_of(const TraceSnapshot& trace);
/// The tensors of a trace file under the same names, as a .npz archive (numpy.load), and moe_layers; `description` holds the JSON description as bytes.
/// Reads back as a recorded run (import_arrays.cpp), text aside.
Result<std::string> npz_of(const TraceSnapshot& trace);

/// Identity of a run: model, engine, policy, provenance, and what it lacks. For exports and reports.
nlohmann::ordered_json run_identity(const TraceSnapshot& trace);
/// Valid UTF-8 as it is, other bytes as \xNN.
std::string printable_utf8(std::string_view bytes);

}  // namespace gs
