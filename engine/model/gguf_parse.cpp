// The GGUF parser. Every rule here answers a way a hostile file has hurt another reader; the numbers are those of spec/gguf.md section 7.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>

#include "engine/model/gguf_part.h"

namespace gs {
namespace {

constexpr uint64_t kMaxTensors = 1'000'000, kMaxRecords = 100'000;      // R6
constexpr uint64_t kMinRecordBytes = 14, kMinTensorBytes = 33;          // R3
constexpr uint64_t kMaxKeyBytes = 65535, kMaxStringBytes = 64ull << 20;  // R7
constexpr uint64_t kMaxArrayCount = 1ull << 30;                         // R9
constexpr uint64_t kMaxMetadataBytes = 2ull << 30;                      // R12
constexpr uint64_t kMaxNameBytes = 63;                                  // R13
constexpr uint64_t kMaxSigned = (1ull << 63) - 1;

class PartParser {
public:
    explicit PartParser(std::span<const std::byte> bytes) : m_bytes(bytes) {}
    Result<GgufPart> run();

private:
    Result<void> read_header();
    Result<void> read_record(uint64_t index);
    Result<void> read_value(GgufRecord& record);
    Result<void> read_array(GgufRecord& record);
    Result<void> check_keys();
    Result<void> read_alignment();
    Result<void> read_tensor(uint64_t index);
    Result<void> read_dims(GgufTensor& tensor);
    Result<void> check_size(GgufTensor& tensor);
    Result<void> place_tensors();

    uint64_t remaining() const { return m_bytes.size() - m_pos; }
    const std::byte* here() const { return m_bytes.data() + m_pos; }
    Error fail(std::string code, const std::string& why) const {
        return gguf_error(std::move(code), fmt::format("{} (byte {}{}{})", why, m_pos, m_where.empty() ? "" : ", ", m_where));
    }
    Error truncated(std::string_view of) const { return fail("truncated", fmt::format("the file ends inside {}", of)); }
    template <class T>
    bool read(T& value) {
        if (sizeof(T) > remaining()) return false;
        std::memcpy(&value, here(), sizeof(T));
        m_pos += sizeof(T);
        return true;
    }

    std::span<const std::byte> m_bytes;
    uint64_t m_pos = 0;
    uint64_t m_n_tensors = 0, m_n_records = 0;
    std::string m_where;                 ///< which record is being read, for messages
    std::vector<uint64_t> m_offsets;     ///< of the tensors, relative to the data section
    GgufPart m_part;
};

Result<void> PartParser::read_header() {
    std::array<char, 4> magic{};
    if (!read(magic)) return truncated("the first four bytes");
    const std::string_view text(magic.data(), magic.size());
    if (text == "FUGG") return fail("bad_magic", "a byte-swapped (big-endian) GGUF file; only little-endian ones can be read");
    if (text == "lmgg" || text == "fmgg" || text == "tjgg" || text == "algg")
        return fail("bad_magic", "a model file in the GGML format that GGUF replaced in 2023");
    if (text != "GGUF") return fail("bad_magic", fmt::format("not a GGUF file: it begins with \"{}\"", sanitise_for_display(text)));
    if (!read(m_part.version)) return truncated("the version");
    if (m_part.version != 0 && (m_part.version & 0xffff) == 0)
        return fail("bad_version", "a big-endian GGUF file (endianness mismatch); only little-endian ones can be read");
    if (m_part.version != 2 && m_part.version != 3)
        return fail("bad_version", fmt::format("GGUF version {}; versions 2 and 3 can be read", m_part.version));
    if (!read(m_n_tensors) || !read(m_n_records)) return truncated("the header");
    if (m_n_tensors > kMaxTensors) return fail("count_too_large", fmt::format("it claims {} tensors; at most {} are accepted", m_n_tensors, kMaxTensors));
    if (m_n_records > kMaxRecords) return fail("count_too_large", fmt::format("it claims {} metadata keys; at most {} are accepted", m_n_records, kMaxRecords));
    // R3: nothing is allocated for records that the file is too short to hold.
    if (m_n_records > remaining() / kMinRecordBytes) return truncated(fmt::format("its {} metadata records", m_n_records));
    if (m_n_tensors > remaining() / kMinTensorBytes) return truncated(fmt::format("its table of {} tensors", m_n_tensors));
    return {};
}

Result<void> PartParser::read_record(uint64_t index) {
    m_where = fmt::format("metadata key {}", index);
    uint64_t length = 0;
    if (!read(length)) return truncated("the length of a key");
    if (length == 0) return fail("bad_key", "a metadata key is empty");
    if (length > kMaxKeyBytes) return fail("string_too_long", fmt::format("a key of {} bytes; at most {} are accepted", length, kMaxKeyBytes));
    if (length > remaining()) return truncated("a key");
    GgufRecord record;
    record.key = {reinterpret_cast<const char*>(here()), length};
    if (!std::all_of(record.key.begin(), record.key.end(), [](char c) { return c >= 0x20 && c <= 0x7e; }))
        return fail("bad_key", fmt::format("the key \"{}\" has characters other than printable ASCII", sanitise_for_display(record.key)));
    m_pos += length;
    m_where += fmt::format(", {}", sanitise_for_display(record.key, 80));
    uint32_t type = 0;
    if (!read(type)) return truncated("the type of a value");
    if (type > static_cast<uint32_t>(GgufValueType::kF64)) return fail("bad_value_type", fmt::format("value type {} does not exist", type));
    record.type = static_cast<GgufValueType>(type);
    GS_TRY_VOID(read_value(record));
    if (m_pos > kMaxMetadataBytes) return fail("count_too_large", "more than 2 GiB of metadata");
    m_part.records.push_back(record);
    return {};
}

Result<void> PartParser::read_value(GgufRecord& record) {
    if (record.type == GgufValueType::kArray) return read_array(record);
    if (record.type == GgufValueType::kString) {
        if (!read(record.count)) return truncated("the length of a string");
        if (record.count > kMaxStringBytes)
            return fail("string_too_long", fmt::format("a string of {} bytes; at most {} are accepted", record.count, kMaxStringBytes));
        if (record.count > remaining()) return truncated("a string");
        record.data = here();
        m_pos += record.count;
        return {};
    }
    const uint64_t size = gguf_value_bytes(record.type);
    if (size > remaining()) return truncated("a value");
    record.data = here();
    if (record.type == GgufValueType::kBool && std::to_integer<int>(*here()) > 1) return fail("bad_value", "a true/false value is neither 0 nor 1");
    m_pos += size;
    return {};
}

Result<void> PartParser::read_array(GgufRecord& record) {
    uint32_t element = 0;
    if (!read(element)) return truncated("the element type of an array");
    if (element == static_cast<uint32_t>(GgufValueType::kArray)) return fail("nested_array", "an array of arrays");
    if (element > static_cast<uint32_t>(GgufValueType::kF64)) return fail("bad_value_type", fmt::format("array element type {} does not exist", element));
    record.element = static_cast<GgufValueType>(element);
    if (!read(record.count)) return truncated("the length of an array");
    if (record.count > kMaxArrayCount) return fail("array_too_long", fmt::format("an array of {} elements; at most {} are accepted", record.count, kMaxArrayCount));
    const bool strings = record.element == GgufValueType::kString;
    const uint64_t size = strings ? sizeof(uint64_t) : gguf_value_bytes(record.element);
    if (record.count > remaining() / size) return truncated(fmt::format("an array of {} elements", record.count));
    record.data = here();
    if (!strings) {
        m_pos += record.count * size;  // both factors were bounded just above
        return {};
    }
    for (uint64_t i = 0; i < record.count; ++i) {
        uint64_t length = 0;
        if (!read(length)) return truncated(fmt::format("string {} of an array", i));
        if (length > kMaxStringBytes)
            return fail("string_too_long", fmt::format("string {} of an array has {} bytes; at most {} are accepted", i, length, kMaxStringBytes));
        if (length > remaining()) return truncated(fmt::format("string {} of an array", i));
        m_pos += length;
    }
    return {};
}

/// R8. Sorting instead of a hash set: no crafted set of keys can make it slow.
Result<void> PartParser::check_keys() {
    std::vector<uint32_t>& order = m_part.by_key;
    order.resize(m_part.records.size());
    std::iota(order.begin(), order.end(), 0u);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return m_part.records[a].key < m_part.records[b].key; });
    for (size_t i = 1; i < order.size(); ++i) {
        const std::string_view key = m_part.records[order[i]].key;
        if (key == m_part.records[order[i - 1]].key) return fail("bad_key", fmt::format("the key \"{}\" occurs twice", sanitise_for_display(key)));
    }
    return {};
}

Result<void> PartParser::read_alignment() {
    const GgufRecord* record = m_part.find("general.alignment");
    if (!record) return {};
    if (record->type != GgufValueType::kU32)
        return fail("bad_alignment", fmt::format("general.alignment has type {} instead of uint32", gguf_value_type_name(record->type)));
    uint32_t value = 0;
    std::memcpy(&value, record->data, sizeof value);
    if (!std::has_single_bit(value) || value < 8 || value > (1u << 20))
        return fail("bad_alignment", fmt::format("general.alignment is {}; it must be a power of two from 8 to 1048576", value));
    m_part.alignment = value;
    return {};
}

Result<void> PartParser::read_tensor(uint64_t index) {
    m_where = fmt::format("tensor {}", index);
    uint64_t length = 0;
    if (!read(length)) return truncated("the length of a tensor name");
    if (length == 0 || length > kMaxNameBytes)
        return fail("bad_tensor_name", fmt::format("a tensor name of {} bytes; 1 to {} are accepted", length, kMaxNameBytes));
    if (length > remaining()) return truncated("a tensor name");
    GgufTensor tensor;
    tensor.name.assign(reinterpret_cast<const char*>(here()), length);
    if (std::any_of(tensor.name.begin(), tensor.name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
        return fail("bad_tensor_name", fmt::format("the tensor name \"{}\" has control characters", sanitise_for_display(tensor.name)));
    m_pos += length;
    m_where += fmt::format(", {}", sanitise_for_display(tensor.name));
    GS_TRY_VOID(read_dims(tensor));
    uint32_t type = 0;
    if (!read(type)) return truncated("the type of a tensor");
    if (!find_tensor_type(type)) return fail("bad_tensor_type", fmt::format("tensor type {} is unknown or retired", type));
    tensor.type = static_cast<TensorType>(type);
    GS_TRY_VOID(check_size(tensor));
    uint64_t offset = 0;
    if (!read(offset)) return truncated("the offset of a tensor");
    m_offsets.push_back(offset);
    m_part.tensors.push_back(std::move(tensor));
    return {};
}

Result<void> PartParser::read_dims(GgufTensor& tensor) {
    uint32_t n_dims = 0;
    if (!read(n_dims)) return truncated("the number of dimensions");
    if (n_dims < 1 || n_dims > tensor.dims.size()) return fail("bad_dims", fmt::format("{} dimensions; 1 to 4 are accepted", n_dims));
    tensor.n_dims = static_cast<int>(n_dims);
    for (uint32_t i = 0; i < n_dims; ++i) {
        if (!read(tensor.dims[i])) return truncated("the dimensions of a tensor");
        if (tensor.dims[i] < 1 || tensor.dims[i] > kMaxSigned) return fail("bad_dims", fmt::format("dimension {} is {}", i, tensor.dims[i]));
    }
    return {};
}

/// R15 to R17: one accumulating product (pairwise tests have been bypassed), then bytes.
Result<void> PartParser::check_size(GgufTensor& tensor) {
    const TensorTypeInfo& type = tensor_type_info(tensor.type);
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.dims) {
        if (__builtin_mul_overflow(elements, dim, &elements) || elements > kMaxSigned)
            return fail("size_overflow", "the number of elements does not fit in 63 bits");
    }
    if (tensor.dims[0] % type.block_values != 0)
        return fail("block_mismatch", fmt::format("rows of {} values cannot be {}, which comes in blocks of {}", tensor.dims[0], type.name, type.block_values));
    if (__builtin_mul_overflow(elements / type.block_values, static_cast<uint64_t>(type.block_bytes), &tensor.n_bytes) || tensor.n_bytes > kMaxSigned)
        return fail("size_overflow", "its size in bytes does not fit in 63 bits");
    if (tensor.n_bytes > m_bytes.size())
        return fail("data_out_of_bounds", fmt::format("it claims {} bytes of data; the whole file has {}", tensor.n_bytes, m_bytes.size()));
    return {};
}

/// R18, R19. Requiring each offset to be the running padded sum rules out overlaps by construction.
Result<void> PartParser::place_tensors() {
    const uint64_t align = m_part.alignment;
    m_part.header_bytes = m_pos;
    const uint64_t data_start = (m_pos + align - 1) / align * align;  // m_pos <= file size, so this cannot wrap
    uint64_t expected = 0;
    for (size_t i = 0; i < m_part.tensors.size(); ++i) {
        GgufTensor& tensor = m_part.tensors[i];
        m_where = fmt::format("tensor {}, {}", i, sanitise_for_display(tensor.name));
        const uint64_t offset = m_offsets[i];
        if (offset % align != 0) return fail("offset_unaligned", fmt::format("offset {} is not a multiple of {}", offset, align));
        if (offset > expected) return fail("offset_gap", fmt::format("offset {} leaves a gap; {} was expected", offset, expected));
        if (offset < expected) return fail("offset_overlap", fmt::format("offset {} overlaps the tensor before; {} was expected", offset, expected));
        if (data_start > m_bytes.size() || offset > m_bytes.size() - data_start || tensor.n_bytes > m_bytes.size() - data_start - offset)
            return fail("data_out_of_bounds", fmt::format("the file ends inside the data of tensor {} of {}", i + 1, m_part.tensors.size()));
        tensor.data = m_bytes.data() + data_start + offset;
        uint64_t padded = 0;
        if (__builtin_add_overflow(tensor.n_bytes, align - 1, &padded) || __builtin_add_overflow(expected, padded / align * align, &expected))
            return fail("size_overflow", "the sizes of the tensors add up to more than 64 bits");
    }
    return {};
}

Result<GgufPart> PartParser::run() {
    GS_TRY_VOID(read_header());
    for (uint64_t i = 0; i < m_n_records; ++i) GS_TRY_VOID(read_record(i));
    m_where.clear();
    GS_TRY_VOID(check_keys());
    GS_TRY_VOID(read_alignment());
    for (uint64_t i = 0; i < m_n_tensors; ++i) GS_TRY_VOID(read_tensor(i));
    GS_TRY_VOID(place_tensors());
    return std::move(m_part);
}

}  // namespace

Result<GgufPart> parse_gguf_part(std::span<const std::byte> bytes) { return PartParser(bytes).run(); }

}  // namespace gs
