// A file mapped read-only, and kept readable when somebody truncates it underneath us.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "engine/core/result.h"

namespace gs {

class MappedFile {
public:
    /// Errors: kInput "not_found", "not_a_file", "unreadable"; kRun "out_of_memory" when the address space is too small. An empty file maps to
    /// an empty span.
    static Result<MappedFile> open(const std::filesystem::path& path);

    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {m_data, m_size}; }
    /// True once the file on disk has become shorter than the mapping. Pages that were read past its end since then were zeros.
    bool shrank() const;
    /// Lets go of the pages that lie wholly in these bytes of the mapping; read again, they come back from the file.
    void forget(std::span<const std::byte> bytes) const;

private:
    MappedFile() = default;
    void reset();

    const std::byte* m_data = nullptr;
    size_t m_size = 0;
    int m_fd = -1;
    int m_guard = -1;   ///< slot in the table of guarded ranges, -1 when it was full
};

}  // namespace gs
