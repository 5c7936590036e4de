// The importers' functions, for the table in import_trace.cpp. Private to engine/io.
#pragma once

#include <filesystem>
#include <string_view>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace gs {

// import_csv.cpp
bool is_moe_trace_csv(std::string_view head);
Result<TraceSnapshot> read_moe_trace_csv(const std::filesystem::path& path);
bool is_big_moe_csv(std::string_view head);
Result<TraceSnapshot> read_big_moe_csv(const std::filesystem::path& path);
// import_route_text.cpp
bool is_route_text(std::string_view head);
Result<TraceSnapshot> read_route_text(const std::filesystem::path& path);
// import_arrays.cpp
bool is_npy(std::string_view head);
Result<TraceSnapshot> read_npy_routes(const std::filesystem::path& path);
bool is_npz(std::string_view head);
Result<TraceSnapshot> read_npz_routes(const std::filesystem::path& path);
// import_response.cpp
bool is_response(std::string_view head);
Result<TraceSnapshot> read_response(const std::filesystem::path& path);
// import_jsonl.cpp
bool is_sequence_jsonl(std::string_view head);
Result<TraceSnapshot> read_sequence_jsonl(const std::filesystem::path& path);
bool is_event_jsonl(std::string_view head);
Result<TraceSnapshot> read_event_jsonl(const std::filesystem::path& path);

}  // namespace gs
