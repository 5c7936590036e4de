// GGUF container reader: maps the file, checks everything a hostile file could lie about (spec/gguf.md section 7), and hands out typed
// metadata and tensor views. No view outlives the GgufFile. Split files are opened as one.
//
//   GS_TRY(GgufFile file, GgufFile::open("model.gguf"));
//   GS_TRY(uint64_t n_layers, file.get_uint("llama.block_count"));
//   const GgufTensor* t = file.find("token_embd.weight");
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/model/tensor_type.h"

namespace gs {

struct GgufTensor {
    std::string name;
    TensorType type = TensorType::kF32;
    int n_dims = 1;
    std::array<uint64_t, 4> dims{1, 1, 1, 1};   ///< dims[0] is the contiguous one; missing ones are 1
    uint64_t n_bytes = 0;
    const std::byte* data = nullptr;            ///< inside the mapping
};

/// One metadata value, for listing (`gatescope info`, model card). Long arrays are shortened.
struct GgufEntry {
    std::string key, type, value;               ///< sanitised for display (R31)
};

class GgufFile {
public:
    /// Opens one file, or all parts of a split model when `path` is any part of it. Error codes are the classes of goldens/README.md
    /// ("truncated", "bad_magic", …), kind kInput.
    static Result<GgufFile> open(const std::filesystem::path& path);
    /// Parses bytes already in memory (tests, fuzzing). The bytes must outlive the GgufFile.
    static Result<GgufFile> parse(std::span<const std::byte> bytes);

    GgufFile(GgufFile&&) noexcept;
    GgufFile& operator=(GgufFile&&) noexcept;
    ~GgufFile();

    uint32_t version() const;
    uint64_t n_bytes() const;                    ///< of all parts
    bool has(std::string_view key) const;
    // Getters accept any integer width in range, f32 and f64, and nothing else. Codes: "missing_key", "wrong_key_type", "bad_value".
    Result<uint64_t> get_uint(std::string_view key) const;
    Result<double> get_float(std::string_view key) const;
    Result<bool> get_bool(std::string_view key) const;
    Result<std::string_view> get_string(std::string_view key) const;
    Result<std::vector<int64_t>> get_int_array(std::string_view key) const;   ///< of truth values too: 0 and 1
    Result<std::vector<float>> get_float_array(std::string_view key) const;
    Result<std::vector<std::string_view>> get_string_array(std::string_view key) const;
    bool is_array(std::string_view key) const;
    uint64_t array_size(std::string_view key) const;   ///< elements; 0 for a missing key or a value that is no array
    std::vector<GgufEntry> entries() const;

    std::span<const GgufTensor> tensors() const;
    const GgufTensor* find(std::string_view name) const;

    /// Of each part: everything before its data section (header, metadata, tensor table).
    std::vector<std::span<const std::byte>> headers() const;
    /// True once a file on disk has become shorter than what was mapped; reads past its end have given zeros since.
    bool shrank() const;
    /// Bytes of the mapping whose pages need not stay in memory; they come back when they are read.
    void forget(std::span<const std::byte> bytes) const;

private:
    struct Impl;
    explicit GgufFile(std::unique_ptr<Impl> impl);
    static Result<GgufFile> open_part(const std::filesystem::path& path);
    static Result<GgufFile> open_sibling(const std::filesystem::path& chosen, const std::string& name, uint64_t number, uint64_t count);
    void append(GgufFile part);
    std::unique_ptr<Impl> m_impl;
};

/// Text from a file made safe to show: control characters, terminal escapes and bidirectional overrides become \xNN escapes, invalid
/// UTF-8 U+FFFD, length limited with an ellipsis in the middle.
std::string sanitise_for_display(std::string_view text, size_t max_bytes = 200);

}  // namespace gs
