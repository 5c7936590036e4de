// Files for readers that take a path, without a disk: a fuzz target opens thousands a second.
#pragma once

#include <filesystem>
#include <span>

namespace gs::test {

/// A file in memory that holds some bytes, under a path of this process, until it goes.
class MemoryFile {
public:
    explicit MemoryFile(std::span<const std::byte> bytes);
    ~MemoryFile();
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    const std::filesystem::path& path() const { return m_path; }

private:
    int m_fd;
    std::filesystem::path m_path;
};

/// A folder of this process for files that are written and renamed, in memory where there is /dev/shm; removed when the process exits.
const std::filesystem::path& scratch_folder();

}  // namespace gs::test
