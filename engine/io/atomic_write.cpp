#include "engine/io/atomic_write.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>

namespace gs {
namespace {

namespace fs = std::filesystem;

Error write_error(const fs::path& path, int number) {
    const std::string what = fmt::format("Cannot write {}", path.string()), why = std::generic_category().message(number);
    // EFBIG: over the file size limit of the user or of the file system.
    if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
        return {ErrorKind::kRun, "disk_full", what, why, "Free some space or choose another place, then save again"};
    }
    return {ErrorKind::kRun, "cannot_write", what, why, "Choose another place, or check its permissions"};
}

/// A file descriptor that closes itself.
class Descriptor {
public:
    explicit Descriptor(int fd) : m_fd(fd) {}
    ~Descriptor() { close(); }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return m_fd; }
    /// 0, or the error that close() reported: some file systems tell of a full disk only here.
    int close() {
        const int fd = m_fd;
        m_fd = -1;
        return fd >= 0 && ::close(fd) != 0 && errno != EINTR ? errno : 0;
    }

private:
    int m_fd;
};

/// 0 or errno.
int write_all(int fd, std::span<const std::span<const std::byte>> pieces) {
    constexpr size_t kAtOnce = 1u << 26;  // a write of more than 2 GB would be cut short by the kernel anyway
    for (std::span<const std::byte> piece : pieces) {
        while (!piece.empty()) {
            const ssize_t n = ::write(fd, piece.data(), std::min(piece.size(), kAtOnce));
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return errno;
            piece = piece.subspan(static_cast<size_t>(n));
        }
    }
    // Devices and pipes have nothing to sync and say EINVAL or ENOTSUP.
    if (::fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP && errno != EROFS) return errno;
    return 0;
}

/// The entry of the folder itself must reach the disk too; a failure here leaves a good file, so it is no error.
void sync_folder(const fs::path& path) {
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    const Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() >= 0) (void)::fsync(fd.get());
}

Result<void> write_directly(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
    Descriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (fd.get() < 0) return write_error(path, errno);
    int error = write_all(fd.get(), pieces);
    if (error == 0) error = fd.close();
    if (error != 0) return write_error(path, error);
    return {};
}

}  // namespace

Result<void> write_file_atomically(const fs::path& path, std::span<const std::span<const std::byte>> pieces) {
    std::error_code ignored;
    const fs::path resolved = fs::is_symlink(path, ignored) ? fs::canonical(path, ignored) : path;
    const fs::path target = resolved.empty() ? path : resolved;  // a link to nowhere is replaced
    const fs::file_status status = fs::status(target, ignored);
    if (fs::is_directory(status)) return write_error(path, EISDIR);
    if (fs::exists(status) && !fs::is_regular_file(status)) return write_directly(target, pieces);

    static std::atomic<unsigned> counter{0};
    fs::path temporary = target;
    temporary += fmt::format(".{}-{}.part", ::getpid(), counter++);
    Descriptor fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (fd.get() < 0) return write_error(path, errno);
    int error = write_all(fd.get(), pieces);
    if (error == 0) error = fd.close();
    if (error == 0 && ::rename(temporary.c_str(), target.c_str()) != 0) error = errno;
    if (error != 0) {
        ::unlink(temporary.c_str());
        return write_error(path, error);
    }
    sync_folder(target);
    return {};
}

Result<void> write_file_atomically(const fs::path& path, std::string_view content) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(content));
    return write_file_atomically(path, std::span(&bytes, 1));
}

}  // namespace gs
