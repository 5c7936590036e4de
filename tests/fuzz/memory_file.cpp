#include "tests/fuzz/memory_file.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "engine/core/check.h"

namespace gs::test {

MemoryFile::MemoryFile(std::span<const std::byte> bytes) : m_fd(memfd_create("fuzz", MFD_CLOEXEC)) {
    GS_CHECK(m_fd >= 0, "no file in memory");
    while (!bytes.empty()) {
        const ssize_t n = write(m_fd, bytes.data(), bytes.size());
        GS_CHECK(n > 0, "no room for a file in memory");
        bytes = bytes.subspan(static_cast<size_t>(n));
    }
    m_path = "/proc/self/fd/" + std::to_string(m_fd);
}

MemoryFile::~MemoryFile() { close(m_fd); }

const std::filesystem::path& scratch_folder() {
    struct Folder {
        std::filesystem::path path;
        Folder() {
            const std::filesystem::path memory = "/dev/shm";
            std::string pattern = ((access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path()) / "gatescope-fuzz-XXXXXX").string();
            GS_CHECK(mkdtemp(pattern.data()), "cannot make a folder");
            path = pattern;
        }
        ~Folder() {
            std::error_code ignored;
            std::filesystem::remove_all(path, ignored);
        }
    };
    static const Folder folder;
    return folder.path;
}

}  // namespace gs::test
