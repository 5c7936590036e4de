// Memory of other interfaces on the same device, with the toolkit's names and meanings.
#pragma once

#include "tests/cuda_emulation/include/runtime_calls.h"

namespace cuda_emulation {
struct ExternalMemory;
}
using cudaExternalMemory_t = cuda_emulation::ExternalMemory*;

enum cudaExternalMemoryHandleType { cudaExternalMemoryHandleTypeOpaqueFd = 1, cudaExternalMemoryHandleTypeOpaqueWin32 = 2 };
constexpr unsigned cudaExternalMemoryDedicated = 1;

struct cudaExternalMemoryHandleDesc {
    cudaExternalMemoryHandleType type = cudaExternalMemoryHandleTypeOpaqueFd;
    union {
        int fd;
        const void* nvSciBufObject;
    } handle = {-1};
    unsigned long long size = 0;
    unsigned flags = 0;
};
struct cudaExternalMemoryBufferDesc {
    unsigned long long offset = 0, size = 0;
    unsigned flags = 0;
};

cudaError_t cudaImportExternalMemory(cudaExternalMemory_t* memory, const cudaExternalMemoryHandleDesc* handle);
cudaError_t cudaExternalMemoryGetMappedBuffer(void** data, cudaExternalMemory_t memory, const cudaExternalMemoryBufferDesc* buffer);
cudaError_t cudaDestroyExternalMemory(cudaExternalMemory_t memory);
