// The reader. A file may come from anywhere: every number is checked before it is used, and the JSON is bounded before it is parsed.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/io/json_depth.h"
#include "engine/io/safetensors.h"

namespace gs {
namespace {

using nlohmann::json;

// A parsed value takes some 16 bytes for as little as 2 of text: 32 MB of header cannot take more than about 300 MB. Ours are far below.
constexpr uint64_t kMaxHeader = 32u << 20;
constexpr int kMaxDepth = 4;        // {tensor: {shape: [n]}} is 3 deep
constexpr size_t kMaxDims = 8;

Error bad_file(const std::filesystem::path& path, std::string code, std::string why) {
    return {ErrorKind::kInput, std::move(code), fmt::format("Cannot read {}", path.string()), std::move(why),
            "The file is damaged or not a safetensors file"};
}

/// A tensor name for a message: printable, short.
std::string shown(std::string_view name) {
    std::string out;
    for (char c : name.substr(0, 60)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return out;
}

/// Parses the header; `duplicate` names a key that came twice at the top, which the format forbids and the parser would drop.
Result<json> parse_header(const std::filesystem::path& path, std::string_view text) {
    if (text.empty() || text.front() != '{') return bad_file(path, "bad_header", "the header is not a JSON object");
    if (!is_shallow_json(text, kMaxDepth)) return bad_file(path, "bad_header", "the header is nested too deeply");
    std::set<std::string> keys;
    std::string duplicate;
    const auto note_keys = [&](int depth, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::key && depth == 1 && !keys.insert(value.get<std::string>()).second)
            duplicate = value.get<std::string>();
        return true;
    };
    json header = json::parse(text, note_keys, false);
    if (!header.is_object()) return bad_file(path, "bad_header", "the header is not valid JSON");
    if (!duplicate.empty()) return bad_file(path, "duplicate_tensor", fmt::format("\"{}\" comes twice", shown(duplicate)));
    return header;
}

/// A non-negative whole number below 2^63; none otherwise.
std::optional<uint64_t> whole(const json& value) {
    if (!value.is_number_unsigned()) return std::nullopt;
    const auto number = value.get<uint64_t>();
    return number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) ? std::nullopt : std::optional(number);
}

struct Placed {
    SafeTensor tensor;
    uint64_t begin = 0, end = 0;
};

Result<Placed> read_entry(const std::filesystem::path& path, const std::string& name, const json& entry, uint64_t n_data) {
    const auto bad = [&](const char* code, std::string_view why) {
        return bad_file(path, code, fmt::format("tensor \"{}\": {}", shown(name), why));
    };
    if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
        return bad("bad_value", "dtype, shape or data_offsets is missing");
    }
    const json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
    Placed out;
    const size_t width = dtype.is_string() ? safetensors_element_bytes(dtype.get<std::string>()) : 0;
    if (width == 0) return bad("bad_value", "unknown dtype");
    out.tensor.dtype = dtype.get<std::string>();
    if (!shape.is_array() || shape.size() > kMaxDims)
        return bad("bad_value", fmt::format("shape is not a list of at most {} numbers", kMaxDims));
    uint64_t n_bytes = width;
    for (const json& dim : shape) {
        const auto n = whole(dim);
        if (!n) return bad("bad_value", "a dimension is not a whole number from 0");
        if (__builtin_mul_overflow(n_bytes, *n, &n_bytes)) return bad("size_overflow", "its size does not fit into 64 bits");
        out.tensor.shape.push_back(static_cast<int64_t>(*n));
    }
    if (!offsets.is_array() || offsets.size() != 2) return bad("bad_value", "data_offsets is not a pair");
    const auto begin = whole(offsets[0]), end = whole(offsets[1]);
    if (!begin || !end || *begin > *end) return bad("bad_value", "data_offsets is not an ascending pair of whole numbers");
    if (*end > n_data) return bad("data_out_of_bounds", fmt::format("ends at byte {} of {} bytes of data", *end, n_data));
    if (*end - *begin != n_bytes) return bad("bad_value", fmt::format("takes {} bytes, but its shape needs {}", *end - *begin, n_bytes));
    out.begin = *begin;
    out.end = *end;
    return out;
}

/// The format leaves no gap, no overlap and no byte after the last tensor.
Result<void> check_layout(const std::filesystem::path& path, std::vector<std::pair<Placed, std::string>>& placed, uint64_t n_data) {
    std::sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) {
        return std::pair(a.first.begin, a.first.end) < std::pair(b.first.begin, b.first.end);
    });
    uint64_t at = 0;
    for (const auto& [entry, name] : placed) {
        if (entry.begin < at) return bad_file(path, "offset_overlap", fmt::format("tensor \"{}\" overlaps the one before it", shown(name)));
        if (entry.begin > at)
            return bad_file(path, "offset_gap", fmt::format("{} unused bytes before tensor \"{}\"", entry.begin - at, shown(name)));
        at = entry.end;
    }
    if (at != n_data) return bad_file(path, "offset_gap", fmt::format("{} unused bytes after the last tensor", n_data - at));
    return {};
}

Result<std::map<std::string, std::string>> read_metadata(const std::filesystem::path& path, const json& value) {
    std::map<std::string, std::string> out;
    if (!value.is_object()) return bad_file(path, "bad_value", "__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) return bad_file(path, "bad_value", fmt::format("metadata \"{}\" is not a string", shown(key)));
        out[key] = text.get<std::string>();
    }
    return out;
}

Result<std::vector<std::byte>> read_file(const std::filesystem::path& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);  // before opening: a pipe would wait for its writer
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
        return bad_file(path, "cannot_open", "it is not a regular file");
    std::ifstream in(path, std::ios::binary);
    const uint64_t size = std::filesystem::file_size(path, error);
    if (!in || error) {
        return Error{ErrorKind::kInput, "cannot_open", fmt::format("Cannot open {}", path.string()),
                     error ? error.message() : "it cannot be read", "Check the path and its permissions"};
    }
    std::vector<std::byte> bytes(size);
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
    if (static_cast<uint64_t>(in.gcount()) != size) return bad_file(path, "truncated", "the file became shorter while it was read");
    return bytes;
}

Error out_of_memory(const std::filesystem::path& path) {
    return {ErrorKind::kRun, "out_of_memory", fmt::format("Cannot read {}", path.string()), "there is not enough memory for it",
            "Close other programs or use a smaller file"};
}

template <class T>
constexpr const char* dtype_of() {
    if constexpr (std::is_same_v<T, float>) return "F32";
    else if constexpr (std::is_same_v<T, double>) return "F64";
    else if constexpr (std::is_same_v<T, int32_t>) return "I32";
    else if constexpr (std::is_same_v<T, int64_t>) return "I64";
    else if constexpr (std::is_same_v<T, uint16_t>) return "U16";
    else return "U8";
}

}  // namespace

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) try {
    SafetensorsFile file;
    GS_TRY(file.m_bytes, read_file(path));
    uint64_t length = 0;
    if (file.m_bytes.size() < sizeof length)
        return bad_file(path, "truncated", "it is shorter than the 8 bytes every such file begins with");
    std::memcpy(&length, file.m_bytes.data(), sizeof length);
    const uint64_t rest = file.m_bytes.size() - sizeof length;
    if (length > kMaxHeader)
        return bad_file(path, "bad_header", fmt::format("its header claims {} bytes; {} are allowed", length, kMaxHeader));
    if (length > rest) return bad_file(path, "truncated", fmt::format("its header claims {} bytes, but {} follow", length, rest));
    const std::string_view text(reinterpret_cast<const char*>(file.m_bytes.data()) + sizeof length, length);
    GS_TRY(const json header, parse_header(path, text));

    const std::span<const std::byte> data = std::span(file.m_bytes).subspan(sizeof length + length);
    std::vector<std::pair<Placed, std::string>> placed;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") {
            GS_TRY(file.m_metadata, read_metadata(path, entry));
            continue;
        }
        GS_TRY(Placed tensor, read_entry(path, name, entry, data.size()));
        placed.emplace_back(std::move(tensor), name);
    }
    GS_TRY_VOID(check_layout(path, placed, data.size()));
    for (auto& [entry, name] : placed) {
        entry.tensor.bytes = data.subspan(entry.begin, entry.end - entry.begin);
        file.m_tensors.emplace(std::move(name), std::move(entry.tensor));
    }
    return file;
} catch (const std::bad_alloc&) {
    return out_of_memory(path);
} catch (const std::length_error&) {
    return out_of_memory(path);
} catch (const std::exception& error) {  // the JSON library and the file system have their own kinds
    return bad_file(path, "bad_value", error.what());
}

const SafeTensor* SafetensorsFile::find(std::string_view name) const {
    const auto it = m_tensors.find(name);
    return it == m_tensors.end() ? nullptr : &it->second;
}

std::vector<std::string> SafetensorsFile::names() const {
    std::vector<std::string> out;
    for (const auto& [name, tensor] : m_tensors) out.push_back(name);
    return out;
}

template <class T>
Result<std::vector<T>> SafeTensor::values() const {
    if (dtype != dtype_of<T>()) {
        return Error{ErrorKind::kInput, "bad_value", "Cannot read a tensor", fmt::format("it holds {}, expected {}", dtype, dtype_of<T>()),
                     ""};
    }
    std::vector<T> out(bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
}
template Result<std::vector<float>> SafeTensor::values<float>() const;
template Result<std::vector<double>> SafeTensor::values<double>() const;
template Result<std::vector<int32_t>> SafeTensor::values<int32_t>() const;
template Result<std::vector<int64_t>> SafeTensor::values<int64_t>() const;
template Result<std::vector<uint16_t>> SafeTensor::values<uint16_t>() const;
template Result<std::vector<uint8_t>> SafeTensor::values<uint8_t>() const;

}  // namespace gs
