#include "engine/model/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "engine/model/gguf.h"

namespace gs {
namespace {

// Reading a page that a truncated file no longer has raises SIGBUS, which would end the program (spec/gguf.md R19). The handler puts a page of
// zeros there instead, as wayland does for client buffers, and the owner sees it in shrank(). Only guarded ranges are touched; any other
// SIGBUS goes to whoever handled it before.
struct GuardedRange {
    std::atomic<uintptr_t> begin{0}, end{0};
    std::atomic<bool> faulted{false};
};
std::array<GuardedRange, 1024> g_ranges;
std::mutex g_ranges_mutex;
struct sigaction g_previous_action;
const uintptr_t g_page_bytes = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));

void on_bus_error(int signal, siginfo_t* info, void* context) {
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    for (GuardedRange& range : g_ranges) {
        const uintptr_t begin = range.begin.load(std::memory_order_acquire);
        if (begin == 0 || address < begin || address >= range.end.load(std::memory_order_acquire)) continue;
        void* start = reinterpret_cast<void*>(address / g_page_bytes * g_page_bytes);
        if (mmap(start, g_page_bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) break;
        range.faulted.store(true, std::memory_order_release);
        return;
    }
    if (g_previous_action.sa_flags & SA_SIGINFO) {
        g_previous_action.sa_sigaction(signal, info, context);
    } else {
        sigaction(signal, &g_previous_action, nullptr);  // returning faults again, now with the action that was there before
    }
}

int guard(const std::byte* data, size_t size) {
    const std::lock_guard lock(g_ranges_mutex);
    static const bool installed = [] {
        struct sigaction action {};
        action.sa_sigaction = on_bus_error;
        action.sa_flags = SA_SIGINFO | SA_NODEFER;
        return sigaction(SIGBUS, &action, &g_previous_action) == 0;
    }();
    if (!installed) return -1;
    for (size_t i = 0; i < g_ranges.size(); ++i) {
        if (g_ranges[i].begin.load() != 0) continue;
        g_ranges[i].faulted.store(false);
        g_ranges[i].end.store(reinterpret_cast<uintptr_t>(data) + size);
        g_ranges[i].begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
        return static_cast<int>(i);
    }
    return -1;
}

Error open_error(const std::filesystem::path& path, int number) {
    const std::string what = "Cannot open " + sanitise_for_display(path.string());
    if (number == ENOENT || number == ENOTDIR)
        return {ErrorKind::kInput, "not_found", what, "there is no such file", "Check the name, or give the path of a .gguf file."};
    return {ErrorKind::kInput, "unreadable", what, std::strerror(number), "Check that you may read it."};
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
    MappedFile file;
    // O_NONBLOCK: a named pipe must be refused below, not waited for.
    file.m_fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file.m_fd < 0) return open_error(path, errno);
    struct stat status {};
    if (fstat(file.m_fd, &status) != 0) return open_error(path, errno);
    if (!S_ISREG(status.st_mode))
        return Error{ErrorKind::kInput, "not_a_file", "Cannot open " + sanitise_for_display(path.string()), "it is not a regular file",
                     "Give the path of a .gguf file."};
    file.m_size = static_cast<size_t>(status.st_size);
    if (file.m_size == 0) return file;
    void* mapping = mmap(nullptr, file.m_size, PROT_READ, MAP_PRIVATE, file.m_fd, 0);
    if (mapping == MAP_FAILED) {
        const int number = errno;
        file.m_size = 0;
        if (number != ENOMEM) return open_error(path, number);
        return Error{ErrorKind::kRun, "out_of_memory", "Cannot map " + sanitise_for_display(path.string()), "the address space left is smaller than the file",
                     "Raise the limit on virtual memory (ulimit -v), or use a smaller model."};
    }
    file.m_data = static_cast<const std::byte*>(mapping);
    file.m_guard = guard(file.m_data, file.m_size);
    return file;
}

bool MappedFile::shrank() const {
    if (m_fd < 0) return false;
    if (m_guard >= 0 && g_ranges[static_cast<size_t>(m_guard)].faulted.load(std::memory_order_acquire)) return true;
    struct stat status {};
    return fstat(m_fd, &status) == 0 && static_cast<size_t>(status.st_size) < m_size;
}

void MappedFile::forget(std::span<const std::byte> bytes) const {
    if (bytes.data() < m_data || bytes.data() + bytes.size() > m_data + m_size) return;   // of another part
    const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
    if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);   // read-only and from a file: nothing is lost
}

void MappedFile::reset() {
    if (m_guard >= 0) g_ranges[static_cast<size_t>(m_guard)].begin.store(0, std::memory_order_release);
    if (m_data) munmap(const_cast<std::byte*>(m_data), m_size);
    if (m_fd >= 0) ::close(m_fd);
    m_data = nullptr;
    m_size = 0;
    m_fd = m_guard = -1;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : m_data(std::exchange(other.m_data, nullptr)),
      m_size(std::exchange(other.m_size, 0)),
      m_fd(std::exchange(other.m_fd, -1)),
      m_guard(std::exchange(other.m_guard, -1)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    if (this != &other) {
        reset();
        m_data = std::exchange(other.m_data, nullptr);
        m_size = std::exchange(other.m_size, 0);
        m_fd = std::exchange(other.m_fd, -1);
        m_guard = std::exchange(other.m_guard, -1);
    }
    return *this;
}

MappedFile::~MappedFile() { reset(); }

}  // namespace gs
