#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>

#include <nlohmann/json.hpp>

#include "engine/core/check.h"
#include "engine/io/atomic_write.h"
#include "engine/io/safetensors.h"

namespace gs {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they lie in memory");

size_t elements_of(const std::vector<int64_t>& shape) {
    return std::accumulate(shape.begin(), shape.end(), size_t{1}, [](size_t n, int64_t d) { return n * static_cast<size_t>(d); });
}

/// Wide elements first, so that each tensor starts at a multiple of its element size and a mapped file can be used in place.
std::vector<const SafetensorsEntry*> in_file_order(std::span<const SafetensorsEntry> entries) {
    std::vector<const SafetensorsEntry*> order;
    for (const SafetensorsEntry& entry : entries) {
        const size_t width = safetensors_element_bytes(entry.dtype);
        GS_CHECK(width > 0, "unknown dtype");
        GS_CHECK(entry.bytes.size() == width * elements_of(entry.shape), "bytes must be the product of shape and element size");
        order.push_back(&entry);
    }
    std::stable_sort(order.begin(), order.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) {
        return safetensors_element_bytes(a->dtype) > safetensors_element_bytes(b->dtype);
    });
    return order;
}

}  // namespace

Result<void> write_safetensors(const std::filesystem::path& path, const std::map<std::string, std::string>& metadata,
                               std::span<const SafetensorsEntry> entries) {
    const auto order = in_file_order(entries);
    nlohmann::ordered_json header;
    if (!metadata.empty()) header["__metadata__"] = metadata;
    uint64_t offset = 0;
    for (const SafetensorsEntry* entry : order) {
        GS_CHECK(!header.contains(entry->name), "tensor names must differ");
        header[entry->name] = {{"dtype", entry->dtype}, {"shape", entry->shape}, {"data_offsets", {offset, offset + entry->bytes.size()}}};
        offset += entry->bytes.size();
    }
    // No exception for invalid UTF-8: names of models come from files. The empty header is an object too.
    std::string text = header.is_null() ? "{}" : header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    text.resize((text.size() + 7) / 8 * 8, ' ');  // the format pads with spaces so that the data begins at a multiple of 8

    const uint64_t length = text.size();
    std::vector<std::span<const std::byte>> pieces = {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(text))};
    for (const SafetensorsEntry* entry : order) pieces.push_back(entry->bytes);
    return write_file_atomically(path, pieces);
}

size_t safetensors_element_bytes(std::string_view dtype) {
    for (std::string_view name : {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"}) {
        if (dtype == name) return 1;
    }
    for (std::string_view name : {"F16", "BF16", "I16", "U16"}) {
        if (dtype == name) return 2;
    }
    for (std::string_view name : {"F32", "I32", "U32"}) {
        if (dtype == name) return 4;
    }
    for (std::string_view name : {"F64", "I64", "U64"}) {
        if (dtype == name) return 8;
    }
    return 0;
}

}  // namespace gs
