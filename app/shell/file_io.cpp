#include "app/shell/file_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

namespace fs = std::filesystem;

namespace app {

static gs::Error cannot_write(const fs::path& path, const std::string& why) {
    return {gs::ErrorKind::kRun, "cannot_write", "Cannot write " + path.string(), why, "Choose another folder, or free some space"};
}

/// errno, or 0.
static int write_all(int file, std::string_view content) {
    while (!content.empty()) {
        const ssize_t n = ::write(file, content.data(), content.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        content.remove_prefix(size_t(n));
    }
    return ::fsync(file) == 0 ? 0 : errno;
}

gs::Result<void> write_file_atomically(const fs::path& path, std::string_view content) {
    std::error_code error;
    if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
    if (error) return cannot_write(path, error.message());
    const fs::path partial = path.string() + "." + std::to_string(::getpid()) + ".part";
    const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) return cannot_write(path, std::strerror(errno));
    const int written = write_all(file, content);
    ::close(file);
    if (written == 0) fs::rename(partial, path, error);
    if (written == 0 && !error) return {};
    std::error_code ignored;
    fs::remove(partial, ignored);
    return cannot_write(path, written ? std::strerror(written) : error.message());
}

gs::Result<std::string> read_file(const fs::path& path) {
    constexpr uintmax_t kLargest = uintmax_t(64) << 20;
    const auto cannot_read = [&](const std::string& why) {
        return gs::Error{gs::ErrorKind::kInput, "cannot_read", "Cannot read " + path.string(), why, "Check the path and its permissions"};
    };
    std::error_code error;
    if (!fs::is_regular_file(path, error)) return cannot_read(error ? error.message() : "not a file");
    if (fs::file_size(path, error) > kLargest || error) return cannot_read("larger than 64 MiB");
    std::ifstream in(path, std::ios::binary);
    std::ostringstream content;
    content << in.rdbuf();
    if (!in) return cannot_read(std::strerror(errno));
    return std::move(content).str();
}

}  // namespace app
