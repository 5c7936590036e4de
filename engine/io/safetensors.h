// The safetensors container: u64 little-endian header length, JSON header, raw data.
#pragma once

#include <cstddef>
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
    std::span<const std::byte> bytes;     ///< row-major, little-endian
    /// Copies as T; the dtype must match (f32: F32, int32_t: I32, uint16_t: U16, uint8_t: U8).
    template <class T>
    Result<std::vector<T>> values() const;
};

class SafetensorsFile {
public:
    static Result<SafetensorsFile> open(const std::filesystem::path& path);
    const SafeTensor* find(std::string_view name) const;
    std::vector<std::string> names() const;
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
/// Atomic: temporary name, fsync, rename.
Result<void> write_safetensors(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                               std::span<const SafetensorsEntry> entries);

}  // namespace gs
