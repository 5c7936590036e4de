// Zip archives as NumPy writes and reads them (.npz): stored or deflated entries, no Zip64. Format: PKWARE APPNOTE 6.3.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace gs {

/// Name to content. Checked: offsets, sizes, names that come twice, CRC-32. Errors: kInput "bad_magic", "truncated", "bad_value", "unsupported",
/// "too_large" (all entries together over most_bytes).
Result<std::map<std::string, std::string>> read_zip(std::span<const std::byte> file, size_t most_bytes = size_t{1} << 30);

struct ZipEntry {
    std::string name, content;
};
/// Stored entries, under 4 GB together. The same entries give the same bytes.
std::string write_zip(std::span<const ZipEntry> entries);

}  // namespace gs
