// Weights as the kernels of engine/ops/cuda unpack them, on the emulated device.
#include "tests/cuda/device_data.h"

#include "engine/ops/cuda/launch.cuh"
#include "engine/ops/cuda/unpack.cuh"

namespace gs::test {
namespace {

/// A thread a group: values in order, rows of whole groups.
__global__ void dequantize_kernel(cuda::DeviceMatrix m, int slab, float* out) {
    const size_t group = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const cuda::SlabView w = cuda::view_of(m, slab);
    if (group >= w.n) return;
    cuda::for_format(m.format, [&]<cuda::Format F>() {
        cuda::dequantize_group<F>(w, group, [&](int j, const float4& v) { std::memcpy(out + group * cuda::kGroup + static_cast<size_t>(4 * j), &v, 16); });
    });
}

void expect_same_values(const Weight& w, const std::string& what) {
    const DeviceStack stack(w);
    const cuda::DeviceMatrix& m = stack.matrix;
    const size_t n_groups = static_cast<size_t>(m.n_groups) * static_cast<size_t>(w.n_out);
    const OnDevice<float> out(n_groups * cuda::kGroup);
    for (int slab = 0; slab < w.n_slabs; ++slab) {
        cuda::launch(dequantize_kernel, dim3(static_cast<unsigned>((n_groups + 63) / 64)), dim3(64), 0, nullptr, m, slab, out.data());
        const std::vector<float> values = out.read();
        std::vector<float> row(static_cast<size_t>(w.n_in));
        for (int o = 0; o < w.n_out; ++o) {
            const TensorTypeInfo& info = tensor_type_info(w.type);
            info.dequantize(w.row(o, slab), row.size() / info.block_values, row.data());
            const float* actual = values.data() + static_cast<size_t>(o * m.n_groups) * cuda::kGroup;
            for (size_t i = 0; i < row.size(); ++i)
                ASSERT_TRUE(actual[i] == row[i] || (actual[i] != actual[i] && row[i] != row[i]))
                    << what << " row " << o << " value " << i << ": " << actual[i] << " for " << row[i];
            for (size_t i = row.size(); i < static_cast<size_t>(m.n_groups) * cuda::kGroup; ++i) ASSERT_EQ(actual[i], 0.0f);
        }
    }
}

TEST(CudaUnpack, EveryTypeGivesTheValuesOfTheFileToTheLastBit) {
    std::mt19937 random(7);
    for (const TensorType type : loadable_types()) {
        const OwnedWeight w(type, 512, 5, random, 2);
        expect_same_values(w.weight, tensor_type_info(type).name);
        if (HasFatalFailure()) return;
    }
    expect_same_values(OwnedWeight(TensorType::kF16, 37, 3, random).weight, "odd width");
    expect_same_values(OwnedWeight(TensorType::kF32, 1, 2, random).weight, "one column");
}

TEST(CudaUnpack, AnyBytesOfABlockGiveTheValuesOfTheFile) {
    std::mt19937 random(8);
    for (const TensorType type : loadable_types()) {
        if (tensor_type_info(type).block_values == 1) continue;
        OwnedWeight w(type, 256, 40, random);
        // Whole and fractional scales of any size, but none that is not a number: such a block has no values.
        for (std::byte& b : w.bytes) b = static_cast<std::byte>(random() & 0xbbu);
        expect_same_values(w.weight, tensor_type_info(type).name);
        if (HasFatalFailure()) return;
    }
}

TEST(CudaUnpack, DeviceMemoryIsThatOfTheFileToAFewPercent) {
    for (const TensorType type : loadable_types()) {
        Weight w{type, nullptr, 2048, 64, 2};
        const TensorTypeInfo& info = tensor_type_info(type);
        w.row_bytes = 2048 / info.block_values * info.block_bytes;
        const cuda::DeviceMatrix m = cuda::device_shape(w);
        if (m.format == cuda::Format::kExpanded) EXPECT_EQ(m.n_bytes(), size_t{2} * 64 * 2048 * 10 / 8);
        else EXPECT_LE(static_cast<double>(m.n_bytes()), 1.04 * static_cast<double>(w.n_bytes())) << info.name;
    }
}

}  // namespace
}  // namespace gs::test
