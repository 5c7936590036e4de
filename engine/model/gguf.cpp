#include "engine/model/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/model/gguf_file_impl.h"

namespace gs {
namespace {

template <class T>
T load(const std::byte* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

/// An integer of any width and sign, without loss.
struct Integer {
    bool negative = false;
    uint64_t bits = 0;   ///< two's complement
};

bool is_integer(GgufValueType type) {
    switch (type) {
        case GgufValueType::kU8:
        case GgufValueType::kI8:
        case GgufValueType::kU16:
        case GgufValueType::kI16:
        case GgufValueType::kU32:
        case GgufValueType::kI32:
        case GgufValueType::kU64:
        case GgufValueType::kI64: return true;
        default: return false;
    }
}

bool is_float(GgufValueType type) { return type == GgufValueType::kF32 || type == GgufValueType::kF64; }

Integer load_integer(GgufValueType type, const std::byte* p) {
    const auto from_signed = [](int64_t v) { return Integer{v < 0, static_cast<uint64_t>(v)}; };
    switch (type) {
        case GgufValueType::kU8:
        case GgufValueType::kBool: return {false, load<uint8_t>(p)};
        case GgufValueType::kU16: return {false, load<uint16_t>(p)};
        case GgufValueType::kU32: return {false, load<uint32_t>(p)};
        case GgufValueType::kU64: return {false, load<uint64_t>(p)};
        case GgufValueType::kI8: return from_signed(load<int8_t>(p));
        case GgufValueType::kI16: return from_signed(load<int16_t>(p));
        case GgufValueType::kI32: return from_signed(load<int32_t>(p));
        default: return from_signed(load<int64_t>(p));
    }
}

double load_float(GgufValueType type, const std::byte* p) {
    return type == GgufValueType::kF32 ? static_cast<double>(load<float>(p)) : load<double>(p);
}

Error key_error(std::string code, std::string_view key, const std::string& why) {
    return gguf_error(std::move(code), fmt::format("the metadata key {} {}", sanitise_for_display(key), why));
}

std::string type_text(const GgufRecord& record) {
    if (record.type != GgufValueType::kArray) return gguf_value_type_name(record.type);
    return fmt::format("array of {} {}", record.count, gguf_value_type_name(record.element));
}

Error wrong_type(const GgufRecord& record, const char* wanted) {
    return key_error("wrong_key_type", record.key, fmt::format("has type {}; {} was expected", type_text(record), wanted));
}

/// One number, truth value or string as text.
std::string value_text(GgufValueType type, const std::byte* p) {
    if (type == GgufValueType::kBool) return load<uint8_t>(p) ? "true" : "false";
    if (type == GgufValueType::kF32) return fmt::format("{}", load<float>(p));
    if (type == GgufValueType::kF64) return fmt::format("{}", load<double>(p));
    const Integer v = load_integer(type, p);
    return v.negative ? fmt::format("{}", static_cast<int64_t>(v.bits)) : fmt::format("{}", v.bits);
}

std::string array_text(const GgufRecord& record) {
    constexpr uint64_t kShown = 8;
    std::string text = "[";
    const std::byte* p = record.data;
    for (uint64_t i = 0; i < std::min(record.count, kShown); ++i) {
        if (i > 0) text += ", ";
        if (record.element == GgufValueType::kString) {
            text += '"' + sanitise_for_display(next_gguf_string(p), 40) + '"';
        } else {
            text += value_text(record.element, p);
            p += gguf_value_bytes(record.element);
        }
    }
    return text + (record.count > kShown ? ", …]" : "]");
}

}  // namespace

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : m_impl(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

uint32_t GgufFile::version() const { return m_impl->first.version; }
uint64_t GgufFile::n_bytes() const { return m_impl->n_bytes; }
bool GgufFile::has(std::string_view key) const { return m_impl->first.find(key) != nullptr; }
std::span<const GgufTensor> GgufFile::tensors() const { return m_impl->tensors; }
std::vector<std::span<const std::byte>> GgufFile::headers() const { return m_impl->headers; }

void GgufFile::forget(std::span<const std::byte> bytes) const {
    for (const MappedFile& mapping : m_impl->mappings) mapping.forget(bytes);
}

bool GgufFile::shrank() const {
    return std::any_of(m_impl->mappings.begin(), m_impl->mappings.end(), [](const MappedFile& mapping) { return mapping.shrank(); });
}

bool GgufFile::is_array(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    return record && record->type == GgufValueType::kArray;
}

uint64_t GgufFile::array_size(std::string_view key) const { return is_array(key) ? m_impl->first.find(key)->count : 0; }

const GgufTensor* GgufFile::find(std::string_view name) const {
    const auto& order = m_impl->by_name;
    const auto found = std::lower_bound(order.begin(), order.end(), name,
                                        [&](uint32_t index, std::string_view wanted) { return m_impl->tensors[index].name < wanted; });
    return found != order.end() && m_impl->tensors[*found].name == name ? &m_impl->tensors[*found] : nullptr;
}

Result<uint64_t> GgufFile::get_uint(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (!is_integer(record->type)) return wrong_type(*record, "an integer");
    const Integer value = load_integer(record->type, record->data);
    if (value.negative) return key_error("bad_value", key, "is negative");
    return value.bits;
}

Result<double> GgufFile::get_float(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (!is_float(record->type)) return wrong_type(*record, "a floating-point number");
    return load_float(record->type, record->data);
}

Result<bool> GgufFile::get_bool(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (record->type != GgufValueType::kBool) return wrong_type(*record, "true or false");
    return load<uint8_t>(record->data) != 0;
}

Result<std::string_view> GgufFile::get_string(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (record->type != GgufValueType::kString) return wrong_type(*record, "text");
    return gguf_text(*record);
}

Result<std::vector<int64_t>> GgufFile::get_int_array(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    const bool counts = is_integer(record->element) || record->element == GgufValueType::kBool;
    if (record->type != GgufValueType::kArray || !counts) return wrong_type(*record, "an array of integers");
    std::vector<int64_t> values(record->count);
    const uint64_t size = gguf_value_bytes(record->element);
    for (uint64_t i = 0; i < record->count; ++i) {
        const Integer value = load_integer(record->element, record->data + i * size);
        if (!value.negative && value.bits > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
            return key_error("bad_value", key, fmt::format("has element {} = {}, which is too large", i, value.bits));
        values[i] = static_cast<int64_t>(value.bits);
    }
    return values;
}

Result<std::vector<float>> GgufFile::get_float_array(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (record->type != GgufValueType::kArray || !is_float(record->element)) return wrong_type(*record, "an array of floating-point numbers");
    std::vector<float> values(record->count);
    const uint64_t size = gguf_value_bytes(record->element);
    for (uint64_t i = 0; i < record->count; ++i) {
        const double value = load_float(record->element, record->data + i * size);
        if (std::isfinite(value) && std::abs(value) > static_cast<double>(std::numeric_limits<float>::max()))
            return key_error("bad_value", key, fmt::format("has element {} = {}, which is too large", i, value));
        values[i] = static_cast<float>(value);
    }
    return values;
}

Result<std::vector<std::string_view>> GgufFile::get_string_array(std::string_view key) const {
    const GgufRecord* record = m_impl->first.find(key);
    if (!record) return key_error("missing_key", key, "is missing");
    if (record->type != GgufValueType::kArray || record->element != GgufValueType::kString) return wrong_type(*record, "an array of text");
    std::vector<std::string_view> values(record->count);
    const std::byte* p = record->data;
    for (std::string_view& value : values) value = next_gguf_string(p);
    return values;
}

std::vector<GgufEntry> GgufFile::entries() const {
    std::vector<GgufEntry> entries;
    entries.reserve(m_impl->first.records.size());
    for (const GgufRecord& record : m_impl->first.records) {
        std::string value;
        if (record.type == GgufValueType::kArray) {
            value = array_text(record);
        } else if (record.type == GgufValueType::kString) {
            value = sanitise_for_display(gguf_text(record));
        } else {
            value = value_text(record.type, record.data);
        }
        entries.push_back({sanitise_for_display(record.key), type_text(record), std::move(value)});
    }
    return entries;
}

}  // namespace gs
