// Internal to engine/model: what one GGUF file (or one part of a split model) holds, and the checked parser that produces it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/model/gguf.h"

namespace gs {

/// Metadata value types, spec/gguf.md section 1.1.
enum class GgufValueType : uint32_t {
    kU8 = 0, kI8 = 1, kU16 = 2, kI16 = 3, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9, kU64 = 10, kI64 = 11, kF64 = 12,
};

/// Bytes of one value; 0 for strings and arrays.
uint64_t gguf_value_bytes(GgufValueType type);
const char* gguf_value_type_name(GgufValueType type);

/// A metadata record; its bytes lie in the file, fully checked.
struct GgufRecord {
    std::string_view key;
    GgufValueType type = GgufValueType::kU8;
    GgufValueType element = GgufValueType::kU8;   ///< of an array
    uint64_t count = 1;                           ///< elements of an array, bytes of a string
    const std::byte* data = nullptr;              ///< first value, element or character (array of strings: first length field)
};

struct GgufPart {
    uint32_t version = 0;
    uint64_t alignment = 32;
    uint64_t header_bytes = 0;                    ///< everything before the data section, padding excluded
    std::vector<GgufRecord> records;              ///< in file order
    std::vector<uint32_t> by_key;                 ///< indices of records, sorted by key
    std::vector<GgufTensor> tensors;

    const GgufRecord* find(std::string_view key) const;
};

/// Parses one file under the rules R1–R18 of spec/gguf.md section 7. Views into `bytes`. Errors: kInput, class in `code`.
Result<GgufPart> parse_gguf_part(std::span<const std::byte> bytes);

/// The characters of a string record.
std::string_view gguf_text(const GgufRecord& record);
/// Reads one string of an array at `p` and moves behind it; lengths were checked by the parser.
std::string_view next_gguf_string(const std::byte*& p);
/// First name that occurs twice, or null. Sorts `order` (indices of the tensors) by name.
const std::string* sort_by_name(std::span<const GgufTensor> tensors, std::vector<uint32_t>& order);

/// An error of the input file, with the remedy that fits its class.
Error gguf_error(std::string code, std::string why);

}  // namespace gs
