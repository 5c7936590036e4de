// Has run in the emulation of tests/cuda_emulation only, never on a device.
#include "engine/ops/cuda/embed.cuh"

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/rows.cuh"
#include "engine/ops/cuda/unpack.cuh"

namespace gs::cuda {
namespace {

constexpr int kThreads = 64;

/// A thread a group: there are few rows, and one is read once.
__global__ void embed_kernel(DeviceMatrix table, const int32_t* ids, float scale, Rows out) {
    const int t = static_cast<int>(blockIdx.x), g = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
    if (g >= table.n_groups) return;
    float* row = row_of(out, t);
    const auto put = [&](int j, const float4& v) {
        const float values[4] = {v.x, v.y, v.z, v.w};
        for (int i = 0; i < 4; ++i) {
            const int column = g * kGroup + 4 * j + i;
            if (column < table.n_in) row[column] = scale * values[i];
        }
    };
    const size_t index = static_cast<size_t>(ids[t]) * static_cast<size_t>(table.n_groups) + static_cast<size_t>(g);
    for_format(table.format, [&]<Format F>() { dequantize_group<F>(view_of(table, 0), index, put); });
}

}  // namespace

void embed_rows(cudaStream_t stream, const DeviceMatrix& table, const int32_t* ids, float scale, Rows out) {
    if (out.n_rows <= 0) return;
    const dim3 grid(static_cast<unsigned>(out.n_rows), static_cast<unsigned>(ceil_div(table.n_groups, kThreads)));
    launch(embed_kernel, grid, dim3(kThreads), 0, stream, table, ids, scale, out);
}

}  // namespace gs::cuda
