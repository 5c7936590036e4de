#include "engine/io/zip.h"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr size_t kLocalSize = 30, kCentralSize = 46, kEndSize = 22, kMaxComment = 65535;

Error bad_zip(const char* code, std::string why) { return {ErrorKind::kInput, code, "Cannot read the archive", std::move(why), "The file is damaged or not written by numpy.savez"}; }

uint32_t number(std::string_view text, size_t at, int n_bytes) {
    uint32_t value = 0;
    for (int i = n_bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[at + static_cast<size_t>(i)]);
    return value;
}

void put(std::string& out, uint32_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; ++i) out += static_cast<char>(value >> (8 * i) & 255);
}

uint32_t crc_of(std::string_view text) { return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(text.data()), text.size())); }

std::optional<std::string> inflate_all(std::string_view packed, size_t size) {
    std::string out(size, '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return std::nullopt;
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int ended = inflate(&stream, Z_FINISH);
    const bool whole = ended == Z_STREAM_END && stream.total_out == size;
    inflateEnd(&stream);
    return whole ? std::optional(std::move(out)) : std::nullopt;
}

struct Directory {
    size_t offset = 0, n_entries = 0;
};

Result<Directory> find_directory(std::string_view text) {
    if (text.size() < kEndSize) return bad_zip("bad_magic", "it is too short for a zip archive");
    const size_t first = text.size() - kEndSize - std::min(text.size() - kEndSize, kMaxComment);
    for (size_t at = text.size() - kEndSize + 1; at-- > first;) {
        if (number(text, at, 4) != kEnd) continue;
        const Directory found{number(text, at + 16, 4), number(text, at + 10, 2)};
        if (found.offset >= at && found.n_entries > 0) return bad_zip("truncated", "its directory lies outside the file (Zip64 is not read)");
        return found;
    }
    return bad_zip("bad_magic", "it has no zip directory");
}

/// Content of the entry whose directory record begins at `at`, which is inside the file.
Result<std::string> content_of(std::string_view text, size_t at) {
    const uint32_t method = number(text, at + 10, 2), crc = number(text, at + 16, 4), packed = number(text, at + 20, 4), size = number(text, at + 24, 4);
    const size_t local = number(text, at + 42, 4);
    if (number(text, at + 8, 2) & 1) return bad_zip("unsupported", "an entry is encrypted");
    if (local > text.size() || text.size() - local < kLocalSize || number(text, local, 4) != kLocal) return bad_zip("truncated", "an entry lies outside the file");
    const size_t begin = local + kLocalSize + number(text, local + 26, 2) + number(text, local + 28, 2);
    if (begin > text.size() || text.size() - begin < packed) return bad_zip("truncated", "an entry lies outside the file");
    const std::string_view raw = text.substr(begin, packed);
    std::string content;
    if (method == 0 && packed == size) {
        content = raw;
    } else if (method == 8) {
        std::optional<std::string> unpacked = inflate_all(raw, size);
        if (!unpacked) return bad_zip("bad_value", "an entry cannot be unpacked");
        content = std::move(*unpacked);
    } else {
        return bad_zip("unsupported", fmt::format("an entry has compression method {}", method));
    }
    if (crc_of(content) != crc) return bad_zip("bad_value", "the checksum of an entry does not fit");
    return content;
}

}  // namespace

Result<std::map<std::string, std::string>> read_zip(std::span<const std::byte> file, size_t most_bytes) {
    const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
    GS_TRY(const Directory directory, find_directory(text));
    std::map<std::string, std::string> out;
    size_t at = directory.offset, total = 0;
    for (size_t i = 0; i < directory.n_entries; ++i) {
        if (at > text.size() || text.size() - at < kCentralSize || number(text, at, 4) != kCentral) return bad_zip("truncated", "its directory ends too early");
        const size_t n_name = number(text, at + 28, 2), next = at + kCentralSize + n_name + number(text, at + 30, 2) + number(text, at + 32, 2);
        if (next > text.size()) return bad_zip("truncated", "its directory ends too early");
        total += number(text, at + 24, 4);
        if (total > most_bytes) return bad_zip("too_large", fmt::format("its entries take more than {} MB", most_bytes >> 20));
        const std::string name(text.substr(at + kCentralSize, n_name));
        GS_TRY(std::string content, content_of(text, at));
        if (!out.emplace(name, std::move(content)).second) return bad_zip("bad_value", "an entry comes twice");
        at = next;
    }
    return out;
}

std::string write_zip(std::span<const ZipEntry> entries) {
    std::string out, directory;
    for (const ZipEntry& entry : entries) {
        GS_CHECK(out.size() + entry.content.size() < UINT32_MAX - 65536 && entry.name.size() < 65536, "an archive under 4 GB");
        const auto size = static_cast<uint32_t>(entry.content.size()), offset = static_cast<uint32_t>(out.size());
        std::string common;                       // of the local header and the directory: versions, flags, method, time, sums, sizes
        put(common, 20, 2), put(common, 0, 2), put(common, 0, 2);
        put(common, 0, 2), put(common, 0x21, 2);  // 1980-01-01
        put(common, crc_of(entry.content), 4), put(common, size, 4), put(common, size, 4);
        put(common, static_cast<uint32_t>(entry.name.size()), 2), put(common, 0, 2);
        put(out, kLocal, 4);
        out += common + entry.name + entry.content;
        put(directory, kCentral, 4), put(directory, 20, 2);
        directory += common;
        put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4), put(directory, offset, 4);
        directory += entry.name;
    }
    const auto offset = static_cast<uint32_t>(out.size()), n = static_cast<uint32_t>(entries.size());
    out += directory;
    put(out, kEnd, 4), put(out, 0, 4), put(out, n, 2), put(out, n, 2);
    put(out, static_cast<uint32_t>(directory.size()), 4), put(out, offset, 4), put(out, 0, 2);
    return out;
}

}  // namespace gs
