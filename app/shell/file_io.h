// Whole small files: read, and written so that a crash or a full disk never leaves half a file.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/core/result.h"

namespace app {

/// To a temporary name beside it, flushed, then renamed; makes the folder if need be. Errors: kRun "cannot_write" with the path and the
/// reason.
gs::Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Errors: kInput "cannot_read" with the path and the reason, also for files over 64 MiB.
gs::Result<std::string> read_file(const std::filesystem::path& path);

}  // namespace app
