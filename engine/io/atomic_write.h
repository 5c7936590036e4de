// Files that are there whole or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "engine/core/result.h"

namespace gs {

/// Writes the pieces one after another to a temporary name beside `path`, syncs, and renames. On any failure the temporary file is removed
/// and the old file is as it was. A symbolic link is followed; a path that exists and is no regular file (device, pipe) is written to
/// directly. Errors: kRun "disk_full" (no space, quota, file size limit), "cannot_write".
Result<void> write_file_atomically(const std::filesystem::path& path, std::span<const std::span<const std::byte>> pieces);
Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace gs
