// Routes as arrays, however they came: the importers of .npy, .npz and of servers' answers. Private to engine/io.
#pragma once

#include <filesystem>
#include <string>

#include "engine/core/result.h"
#include "engine/io/npy.h"
#include "engine/routing/trace.h"

namespace gs {

/// Null: not there. Shapes are checked by trace_of_arrays.
struct RouteArrays {
    const NpyArray *prompt = nullptr, *ids = nullptr;   ///< [tokens, layers, k]; prompt stands before ids
    const NpyArray *weights = nullptr;                  ///< as ids
    const NpyArray *logits = nullptr;                   ///< [tokens, layers, experts]
    const NpyArray *token_ids = nullptr, *layers = nullptr, *phases = nullptr;   ///< [tokens], [layers], [tokens] (1: decode)
};

/// Errors: kInput "shape_mismatch", "bad_value", "no_routes".
Result<TraceSnapshot> trace_of_arrays(const RouteArrays& arrays, const char* source, const std::filesystem::path& path, const std::string& model_name = "");

}  // namespace gs
