// A run as files for other people: tables for programs, and one HTML page that needs nothing else.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/core/result.h"
#include "engine/routing/trace.h"

namespace app {

/// One self-contained page: what ran, the text coloured by the first expert of a MoE layer (row of moe_layers; -1: the middle one), load and balance of every
/// layer beside what a uniform router would show, pictures as embedded PNGs. No scripts, nothing from elsewhere; every text is escaped.
std::string html_report(const gs::TraceSnapshot& trace, int moe_layer = -1);

/// "csv", "json", "npz", "html": those of gs::exporters() and the report.
inline constexpr const char* kExportFormats[] = {"html", "csv", "json", "npz"};
/// The file's content; moe_layer as of a report. Errors: kUsage "unknown_format"; those of the exporter.
gs::Result<std::string> exported(const gs::TraceSnapshot& trace, std::string_view format, int moe_layer = -1);
/// Written to a temporary name and renamed. Errors: those above and those of writing.
gs::Result<void> export_run(const gs::TraceSnapshot& trace, std::string_view format, const std::filesystem::path& path);

}  // namespace app
