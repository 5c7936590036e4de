// Internal to engine/model: what a GgufFile holds.
#pragma once

#include <vector>

#include "engine/model/gguf_part.h"
#include "engine/model/mapped_file.h"

namespace gs {

struct GgufFile::Impl {
    std::vector<MappedFile> mappings;                    ///< one a part; empty when parsed from memory
    std::vector<std::span<const std::byte>> headers;     ///< one a part
    GgufPart first;                                      ///< the part with the metadata; its tensors are moved out
    std::vector<GgufTensor> tensors;                     ///< of all parts
    std::vector<uint32_t> by_name;                       ///< indices of tensors, sorted by name
    uint64_t n_bytes = 0;
};

}  // namespace gs
