// Small helpers over checked metadata records, and errors of the input file.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/model/gguf_part.h"

namespace gs {

uint64_t gguf_value_bytes(GgufValueType type) {
    switch (type) {
        case GgufValueType::kU8:
        case GgufValueType::kI8:
        case GgufValueType::kBool: return 1;
        case GgufValueType::kU16:
        case GgufValueType::kI16: return 2;
        case GgufValueType::kU32:
        case GgufValueType::kI32:
        case GgufValueType::kF32: return 4;
        case GgufValueType::kU64:
        case GgufValueType::kI64:
        case GgufValueType::kF64: return 8;
        case GgufValueType::kString:
        case GgufValueType::kArray: return 0;
    }
    return 0;
}

const char* gguf_value_type_name(GgufValueType type) {
    static constexpr const char* kNames[] = {"uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
                                             "bool",  "string", "array",  "uint64", "int64",  "float64"};
    return kNames[static_cast<uint32_t>(type)];
}

const GgufRecord* GgufPart::find(std::string_view key) const {
    const auto found =
        std::lower_bound(by_key.begin(), by_key.end(), key, [&](uint32_t index, std::string_view wanted) { return records[index].key < wanted; });
    return found != by_key.end() && records[*found].key == key ? &records[*found] : nullptr;
}

std::string_view gguf_text(const GgufRecord& record) { return {reinterpret_cast<const char*>(record.data), record.count}; }

std::string_view next_gguf_string(const std::byte*& p) {
    uint64_t length = 0;
    std::memcpy(&length, p, sizeof length);
    const std::string_view text(reinterpret_cast<const char*>(p) + sizeof length, length);
    p += sizeof length + length;
    return text;
}

const std::string* sort_by_name(std::span<const GgufTensor> tensors, std::vector<uint32_t>& order) {
    order.resize(tensors.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
    for (size_t i = 1; i < order.size(); ++i)
        if (tensors[order[i]].name == tensors[order[i - 1]].name) return &tensors[order[i]].name;
    return nullptr;
}

Error gguf_error(std::string code, std::string why) {
    std::string remedy = "The file is damaged or was written by a faulty tool; get it again from its source.";
    if (code == "truncated" || code == "data_out_of_bounds") remedy = "The download is probably incomplete; get the file again.";
    if (code == "bad_magic" || code == "bad_version") remedy = "Get the model as a little-endian GGUF file of version 3.";
    if (code == "unsupported_layout") remedy = "Try another file of this model, made by a current converter, or another model.";
    if (code == "split_missing_part" || code == "split_mismatch")
        remedy = "Put all parts of the model in one folder, under the names they were published with.";
    return {ErrorKind::kInput, std::move(code), "This is not a usable GGUF file", std::move(why), std::move(remedy)};
}

}  // namespace gs
