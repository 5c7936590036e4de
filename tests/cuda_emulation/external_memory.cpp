// Host bodies for memory of other interfaces: what the software Vulkan driver exports is a file in memory, which is mapped here too.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <set>

#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/include/cuda_runtime.h"
#include "tests/cuda_emulation/runtime_state.h"

namespace cuda_emulation {

struct ExternalMemory {
    std::byte* file = nullptr;
    size_t file_bytes = 0, n_bytes = 0;        ///< of the file, and of the memory in it
    std::byte* data = nullptr;
    std::set<const void*> buffers;
};

namespace {

std::set<ExternalMemory*> imported;
bool refuses = false;

}  // namespace

void refuse_imports(bool refuse) { refuses = refuse; }
size_t n_imported() { return imported.size(); }

bool free_external_buffer(const void* buffer) {
    for (ExternalMemory* memory : imported)
        if (memory->buffers.erase(buffer) > 0) return true;
    return false;
}

}  // namespace cuda_emulation

using namespace cuda_emulation;

cudaError_t cudaImportExternalMemory(cudaExternalMemory_t* memory, const cudaExternalMemoryHandleDesc* handle) {
    GS_ALIVE();
    struct stat file {};
    const bool usable = !refuses && handle->type == cudaExternalMemoryHandleTypeOpaqueFd && handle->size > 0 && fstat(handle->handle.fd, &file) == 0;
    if (!usable) return report(cudaErrorInvalidValue);
    const auto file_bytes = static_cast<size_t>(file.st_size);
    void* mapped = mmap(nullptr, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, handle->handle.fd, 0);
    if (mapped == MAP_FAILED) return report(cudaErrorInvalidValue);
    // Mesa's header (os_memory_fd.c): the size asked for, then where the data begins.
    const auto* header = static_cast<const uint64_t*>(mapped);
    if (header[1] + handle->size > file_bytes) {
        munmap(mapped, file_bytes);
        return report(cudaErrorInvalidValue);
    }
    (void)close(handle->handle.fd);            // taken over, and not needed for the mapping
    auto* base = static_cast<std::byte*>(mapped);
    *memory = new ExternalMemory{base, file_bytes, static_cast<size_t>(handle->size), base + header[1], {}};
    imported.insert(*memory);
    return cudaSuccess;
}

cudaError_t cudaExternalMemoryGetMappedBuffer(void** data, cudaExternalMemory_t memory, const cudaExternalMemoryBufferDesc* buffer) {
    GS_ALIVE();
    if (buffer->offset + buffer->size > memory->n_bytes) return report(cudaErrorInvalidValue);
    *data = memory->data + buffer->offset;
    memory->buffers.insert(*data);
    return cudaSuccess;
}

cudaError_t cudaDestroyExternalMemory(cudaExternalMemory_t memory) {
    munmap(memory->file, memory->file_bytes);
    imported.erase(memory);
    delete memory;
    return cudaSuccess;
}
