// The safetensors container: u64 little-endian header length, JSON header, raw data.
//
//   GS_TRY(SafetensorsFile file, SafetensorsFile::open(path));
//   const SafeTensor* logits = file.find("router_logits");
//   if (logits) GS_TRY(std::vector<float> values, logits->values<float>());
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"

namespace gs {

struct SafeTensor {
    std::string dtype;                    ///< "F32", "F16", "I32", "U16", "U8", …
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;     ///< row-major, little-endian; not aligned
    /// Copies as T; the dtype must match (float: F32, double: F64, int32_t: I32, int64_t: I64, uint16_t: U16, uint8_t: U8).
    /// Errors: kInput "bad_value" naming both types.
    template <class T>
    Result<std::vector<T>> values() const;
};

class SafetensorsFile {
public:
    SafetensorsFile() = default;
    SafetensorsFile(SafetensorsFile&&) = default;             // the tensors point into m_bytes, which a move keeps and a copy would not
    SafetensorsFile& operator=(SafetensorsFile&&) = default;

    /// Reads and checks the whole file: header length, JSON, names, types, shapes, offsets without gap or overlap up to the last byte.
    /// Errors: kInput "cannot_open", "truncated", "bad_header", "bad_value", "size_overflow", "offset_overlap", "offset_gap",
    /// "data_out_of_bounds", "duplicate_tensor"; kRun "out_of_memory".
    static Result<SafetensorsFile> open(const std::filesystem::path& path);
    const SafeTensor* find(std::string_view name) const;      ///< null if there is none
    std::vector<std::string> names() const;                   ///< ascending
    const std::map<std::string, std::string>& metadata() const { return m_metadata; }

private:
    std::vector<std::byte> m_bytes;
    std::map<std::string, SafeTensor, std::less<>> m_tensors;
    std::map<std::string, std::string> m_metadata;
};

struct SafetensorsEntry {
    std::string name, dtype;
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;
};
/// Writes to a temporary name beside `path`, syncs, renames; whatever goes wrong, the old file stays as it was. A path that is a device or
/// a pipe is written to directly. Names, metadata: UTF-8 (what is not becomes U+FFFD). Errors: kRun "disk_full", "cannot_write".
Result<void> write_safetensors(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                               std::span<const SafetensorsEntry> entries);

/// Bytes of one element of a dtype; 0 for an unknown one.
size_t safetensors_element_bytes(std::string_view dtype);

}  // namespace gs
