// Opening a model: one file, or all parts of a split one (spec/gguf.md section 6, R30).
#include <fmt/format.h>

#include <optional>

#include "engine/model/gguf_file_impl.h"

namespace gs {
namespace {

constexpr uint64_t kMaxParts = 1000;   // R30

/// What the keys split.* of one part say.
struct SplitKeys {
    uint64_t count = 1, number = 0;
    std::optional<uint64_t> n_tensors;
};

/// "<prefix>-00001-of-00003.gguf" taken apart.
struct SplitName {
    std::string prefix;
    uint64_t number = 0, count = 0;   ///< as in the name: 1-based
};

Result<SplitKeys> read_split_keys(const GgufFile& part) {
    SplitKeys keys;
    if (!part.has("split.count")) return keys;
    GS_TRY(keys.count, part.get_uint("split.count"));
    if (keys.count < 1 || keys.count > kMaxParts)
        return gguf_error("bad_value", fmt::format("split.count is {}; 1 to {} parts are accepted", keys.count, kMaxParts));
    if (keys.count == 1) return keys;
    GS_TRY(keys.number, part.get_uint("split.no"));
    if (part.has("split.tensors.count")) {
        GS_TRY(const uint64_t n_tensors, part.get_uint("split.tensors.count"));
        keys.n_tensors = n_tensors;
    }
    return keys;
}

std::string part_name(const std::string& prefix, uint64_t number, uint64_t count) {
    return fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number, count);
}

std::optional<SplitName> take_apart(const std::string& name) {
    constexpr std::string_view kPattern = "-00001-of-00003.gguf";
    if (name.size() <= kPattern.size()) return std::nullopt;
    SplitName split;
    const size_t start = name.size() - kPattern.size();
    split.prefix = name.substr(0, start);
    for (size_t i = 0; i < 5; ++i) {
        const char number = name[start + 1 + i], count = name[start + 10 + i];
        if (number < '0' || number > '9' || count < '0' || count > '9') return std::nullopt;
        split.number = split.number * 10 + static_cast<uint64_t>(number - '0');
        split.count = split.count * 10 + static_cast<uint64_t>(count - '0');
    }
    if (name != part_name(split.prefix, split.number, split.count)) return std::nullopt;
    return split;
}

/// Names the file in an error that the parser raised without knowing it.
Error name_file(Error error, const std::filesystem::path& path) {
    error.what = "Cannot read " + sanitise_for_display(path.filename().string());
    return error;
}

}  // namespace

Result<GgufFile> GgufFile::parse(std::span<const std::byte> bytes) {
    auto impl = std::make_unique<Impl>();
    GS_TRY(impl->first, parse_gguf_part(bytes));
    impl->tensors = std::move(impl->first.tensors);
    impl->headers = {bytes.first(impl->first.header_bytes)};
    impl->n_bytes = bytes.size();
    if (const std::string* twice = sort_by_name(impl->tensors, impl->by_name))
        return gguf_error("duplicate_tensor", fmt::format("the tensor \"{}\" occurs twice", sanitise_for_display(*twice)));
    return GgufFile(std::move(impl));
}

Result<GgufFile> GgufFile::open_part(const std::filesystem::path& path) {
    GS_TRY(MappedFile mapping, MappedFile::open(path));
    Result<GgufFile> file = parse(mapping.bytes());
    if (!file) return name_file(file.error(), path);
    file->m_impl->mappings.push_back(std::move(mapping));
    return file;
}

Result<GgufFile> GgufFile::open(const std::filesystem::path& path) {
    GS_TRY(GgufFile chosen, open_part(path));
    const Result<SplitKeys> keys = read_split_keys(chosen);
    if (!keys) return name_file(keys.error(), path);
    if (keys->count == 1) return chosen;
    const std::optional<SplitName> name = take_apart(path.filename().string());
    if (!name || name->count != keys->count || name->number != keys->number + 1)
        return name_file(gguf_error("split_mismatch", fmt::format("it is part {} of {} of a split model, so its name must end in {}", keys->number + 1,
                                                                  keys->count, part_name("", keys->number + 1, keys->count))),
                         path);
    GgufFile all = std::move(chosen);
    if (keys->number != 0) {
        GS_TRY(all, open_sibling(path, part_name(name->prefix, 1, keys->count), 0, keys->count));
    }
    const Result<SplitKeys> first_keys = read_split_keys(all);
    for (uint64_t number = 1; number < keys->count; ++number) {
        GS_TRY(GgufFile part, open_sibling(path, part_name(name->prefix, number + 1, keys->count), number, keys->count));
        all.append(std::move(part));
    }
    if (const std::string* twice = sort_by_name(all.m_impl->tensors, all.m_impl->by_name))
        return name_file(gguf_error("duplicate_tensor", fmt::format("two parts hold the tensor \"{}\"", sanitise_for_display(*twice))), path);
    if (first_keys->n_tensors && *first_keys->n_tensors != all.m_impl->tensors.size())
        return name_file(gguf_error("split_mismatch", fmt::format("the {} parts hold {} tensors together, but the first one says {}", keys->count,
                                                                  all.m_impl->tensors.size(), *first_keys->n_tensors)),
                         path);
    return all;
}

Result<GgufFile> GgufFile::open_sibling(const std::filesystem::path& chosen, const std::string& name, uint64_t number, uint64_t count) {
    const std::filesystem::path path = chosen.parent_path() / name;   // R30: the folder of the chosen file, the name from our own pattern
    Result<GgufFile> part = open_part(path);
    if (!part) {
        if (part.error().code != "not_found") return part.error();
        return name_file(gguf_error("split_missing_part", fmt::format("part {} of {}, {}, is missing", number + 1, count, sanitise_for_display(name))), chosen);
    }
    const Result<SplitKeys> keys = read_split_keys(*part);
    if (!keys) return name_file(keys.error(), path);
    if (keys->count != count || keys->number != number)
        return name_file(gguf_error("split_mismatch", fmt::format("by its name it is part {} of {}, by its content part {} of {}", number + 1, count,
                                                                  keys->number + 1, keys->count)),
                         path);
    return part;
}

/// Takes over the tensors of a further part; its metadata holds nothing but split.*.
void GgufFile::append(GgufFile part) {
    Impl& from = *part.m_impl;
    m_impl->n_bytes += from.n_bytes;
    std::move(from.tensors.begin(), from.tensors.end(), std::back_inserter(m_impl->tensors));
    std::move(from.mappings.begin(), from.mappings.end(), std::back_inserter(m_impl->mappings));
    m_impl->headers.insert(m_impl->headers.end(), from.headers.begin(), from.headers.end());
}

}  // namespace gs
