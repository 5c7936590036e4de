// Recorded runs of other programs. One table says what can be read, how a file is recognised, and what its format does not tell.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace gs {

/// One format. To add one: import_<name>.cpp with its two functions, and a row in import_trace.cpp.
struct Importer {
    const char* name;                            ///< "BigMoeOnEdge CSV": TraceInfo::source
    const char* extensions;                      ///< with the dot, separated by blanks
    const char* lacks;                           ///< what is never in such a file, for people
    bool (*sniff)(std::string_view head);        ///< does a file begin like this (up to 4096 bytes of it)
    Result<TraceSnapshot> (*read)(const std::filesystem::path& path);
};
std::span<const Importer> importers();
/// By what the file begins with; null: none of them.
const Importer* importer_of(const std::filesystem::path& path);

/// An own trace file or one that an importer knows. Provenance::kReplayed. Every offset, count and id is checked. Errors: kInput "cannot_open",
/// "unknown_trace" (names what can be read), "bad_value", "truncated", "too_large", …
Result<TraceSnapshot> open_trace(const std::filesystem::path& path);

/// "It holds no router logits, no weights." or empty.
std::string lacks_text(const TraceLacks& lacks);

}  // namespace gs
