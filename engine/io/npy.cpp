#include "engine/io/npy.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace gs {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMaxHeader = 1 << 16, kMaxDims = 8;

Error bad_npy(const char* code, std::string why) { return {ErrorKind::kInput, code, "Cannot read the array", std::move(why), "Save it with numpy.save or numpy.savez"}; }

/// What stands after 'key': in the header, which is the text of a Python dict.
std::optional<std::string_view> after_key(std::string_view header, std::string_view key) {
    for (const char quote : {'\'', '"'}) {
        const std::string quoted = fmt::format("{0}{1}{0}", quote, key);
        const size_t at = header.find(quoted);
        if (at == std::string_view::npos) continue;
        size_t begin = at + quoted.size();
        while (begin < header.size() && (header[begin] == ' ' || header[begin] == ':')) ++begin;
        return header.substr(begin);
    }
    return std::nullopt;
}

std::optional<std::vector<int64_t>> parse_shape(std::string_view text) {
    if (!text.starts_with('(')) return std::nullopt;
    std::vector<int64_t> shape;
    int64_t value = -1, total = 1;
    for (const char c : text.substr(1)) {
        if (c >= '0' && c <= '9') {
            value = (value < 0 ? 0 : value * 10) + (c - '0');
            if (value > int64_t{1} << 40) return std::nullopt;
        } else if (c == ',' || c == ')') {
            if (value >= 0) {
                if (shape.size() == kMaxDims || (value > 0 && total > (int64_t{1} << 40) / value)) return std::nullopt;
                total *= value;
                shape.push_back(value);
            }
            value = -1;
            if (c == ')') return shape;
        } else if (c != ' ') {
            return std::nullopt;
        }
    }
    return std::nullopt;
}

double from_half(uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : exponent == 31 ? (mantissa ? NAN : INFINITY) : std::ldexp(1024 + mantissa, exponent - 25);
    return bits & 0x8000 ? -magnitude : magnitude;
}

template <class T>
T value_at(const NpyArray& array, int64_t i) {
    T value;
    std::memcpy(&value, array.bytes.data() + static_cast<size_t>(i) * sizeof(T), sizeof(T));
    return value;
}

}  // namespace

int64_t NpyArray::n_values() const {
    int64_t n = 1;
    for (const int64_t dim : shape) n *= dim;
    return n;
}

int64_t NpyArray::integer(int64_t i) const {
    if (kind == 'f') return static_cast<int64_t>(number(i));
    const bool has_sign = kind == 'i';
    switch (item_bytes) {   // no conditional expressions: their common type would be the unsigned one
        case 1: if (has_sign) return value_at<int8_t>(*this, i); else return value_at<uint8_t>(*this, i);
        case 2: if (has_sign) return value_at<int16_t>(*this, i); else return value_at<uint16_t>(*this, i);
        case 4: if (has_sign) return value_at<int32_t>(*this, i); else return value_at<uint32_t>(*this, i);
        default: return value_at<int64_t>(*this, i);
    }
}

double NpyArray::number(int64_t i) const {
    if (kind != 'f') return static_cast<double>(integer(i));
    if (item_bytes == 2) return from_half(value_at<uint16_t>(*this, i));
    return item_bytes == 4 ? static_cast<double>(value_at<float>(*this, i)) : value_at<double>(*this, i);
}

Result<NpyArray> read_npy(std::span<const std::byte> file) {
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    if (!text.starts_with(kMagic) || text.size() < 10) return bad_npy("bad_magic", "it does not begin like a .npy file");
    const int major = static_cast<unsigned char>(text[6]);
    if (major < 1 || major > 3) return bad_npy("bad_version", fmt::format("it has format version {}", major));
    const size_t start = major == 1 ? 10 : 12;
    if (text.size() < start) return bad_npy("truncated", "it ends inside its header");
    size_t length = 0;
    for (size_t i = start; i-- > 8;) length = length << 8 | static_cast<unsigned char>(text[i]);
    if (length > kMaxHeader || text.size() < start + length) return bad_npy("truncated", "it ends inside its header");
    const std::string_view header = text.substr(start, length);
    const auto descr = after_key(header, "descr"), order = after_key(header, "fortran_order"), dims = after_key(header, "shape");
    if (!descr || !order || !dims || descr->size() < 5) return bad_npy("bad_header", "its header lacks descr, fortran_order or shape");
    if (!order->starts_with("False")) return bad_npy("unsupported", "it is stored column by column (fortran_order)");
    NpyArray array;
    const char endian = (*descr)[1];
    array.kind = (*descr)[2];
    array.item_bytes = (*descr)[3] - '0';
    const bool size_known = array.item_bytes == 1 || array.item_bytes == 2 || array.item_bytes == 4 || array.item_bytes == 8;
    const bool kind_known = array.is_integer() || (array.kind == 'f' && array.item_bytes > 1);
    if ((endian != '<' && endian != '|' && endian != '=') || !size_known || !kind_known || ((*descr)[4] != '\'' && (*descr)[4] != '"'))
        return bad_npy("unsupported", fmt::format("its type is {}: whole numbers and floats, little-endian, can be read", descr->substr(0, std::min<size_t>(descr->size(), 8))));
    const auto shape = parse_shape(*dims);
    if (!shape) return bad_npy("bad_header", "its shape cannot be read");
    array.shape = *shape;
    array.bytes = file.subspan(start + length);
    if (array.bytes.size() / static_cast<size_t>(array.item_bytes) < static_cast<size_t>(array.n_values()))
        return bad_npy("truncated", fmt::format("it ends before its {} values", array.n_values()));
    return array;
}

std::string write_npy(const char* descr, std::span<const int64_t> shape, std::span<const std::byte> values) {
    std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
    const size_t total = 10 + header.size() + 1;
    header.append((64 - total % 64) % 64, ' ');
    header += '\n';
    std::string out(kMagic);
    out += {'\x01', '\x00', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
    out += header;
    out.append(reinterpret_cast<const char*>(values.data()), values.size());
    return out;
}

}  // namespace gs
