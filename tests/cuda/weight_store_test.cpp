// Weights on their way to the device: in pieces by several threads, heard of, and called off.
#include "engine/ops/cuda/weight_store.h"

#include "tests/cuda/device_data.h"

namespace gs::test {
namespace {

class CudaWeightStore : public testing::Test {
protected:
    CudaWeightStore() { EXPECT_EQ(cudaStreamCreate(&m_stream), cudaSuccess); }
    ~CudaWeightStore() override { EXPECT_EQ(cudaStreamDestroy(m_stream), cudaSuccess); }

    static std::vector<std::byte> packed(const Weight& w, int slab) {
        std::vector<std::byte> bytes(cuda::device_shape(w).slab_bytes);
        cuda::pack_slab(w, slab, bytes.data());
        return bytes;
    }
    /// The bytes of groups, slab by slab: what is between the last plane and the next slab is nobody's.
    static void expect_packed(const Weight& w, const cuda::DeviceMatrix& on_device) {
        const cuda::Plane last = cuda::planes_of(on_device.format, static_cast<size_t>(w.n_out) * static_cast<size_t>(on_device.n_groups)).back();
        const size_t n = last.offset + last.bytes_of(static_cast<size_t>(w.n_out) * static_cast<size_t>(on_device.n_groups));
        for (int s = 0; s < w.n_slabs; ++s) {
            const std::vector<std::byte> expected = packed(w, s);
            EXPECT_EQ(std::memcmp(on_device.slab(s).data, expected.data(), n), 0) << tensor_type_info(w.type).name << ", slab " << s;
        }
    }

    std::mt19937 m_random{20240614};
    cudaStream_t m_stream = nullptr;
    cuda::ErrorLog m_errors;
    std::shared_ptr<const void> m_owner = std::make_shared<int>();
};

TEST_F(CudaWeightStore, RowsPackedApartAreThePlanesOfTheWhole) {
    for (const TensorType type : loadable_types()) {
        const int block = static_cast<int>(tensor_type_info(type).block_values), n_in = block == 1 ? 75 : 3 * block;
        const OwnedWeight w(type, n_in, 11, m_random, 2);
        const cuda::DeviceMatrix shape = cuda::device_shape(w.weight);
        const auto groups = [&](int rows) { return static_cast<size_t>(rows) * static_cast<size_t>(shape.n_groups); };
        const std::vector<cuda::Plane> whole = cuda::planes_of(shape.format, groups(11));
        const std::vector<std::byte> expected = packed(w.weight, 1);
        std::vector<std::byte> joined(expected.size());
        for (const auto& [first, n] : {std::pair{0, 4}, {4, 1}, {5, 6}}) {
            std::vector<std::byte> piece(cuda::packed_bytes(w.weight, n));
            cuda::pack_rows(w.weight, 1, first, n, piece.data());
            const std::vector<cuda::Plane> planes = cuda::planes_of(shape.format, groups(n));
            ASSERT_EQ(planes.size(), whole.size());
            for (size_t p = 0; p < planes.size(); ++p)
                std::memcpy(joined.data() + whole[p].offset + whole[p].bytes_of(groups(first)), piece.data() + planes[p].offset, planes[p].bytes_of(groups(n)));
        }
        EXPECT_EQ(std::memcmp(joined.data(), expected.data(), whole.back().offset + whole.back().bytes_of(groups(11))), 0) << tensor_type_info(type).name;
    }
}

TEST_F(CudaWeightStore, LargeMatricesAndStacksArriveWholeAndProgressEndsAtAll) {
    // Several pieces of 4 MB; several slabs of one piece each; less than a piece; a vector.
    const OwnedWeight large(TensorType::kQ4_K, 4096, 5000, m_random), stack(TensorType::kQ8_0, 2048, 700, m_random, 5);
    const OwnedWeight small(TensorType::kF16, 64, 10, m_random), vector(TensorType::kF32, 64, 1, m_random);
    cuda::WeightStore store(m_errors, m_stream);
    const std::vector<Weight> matrices{large.weight, stack.weight, small.weight, large.weight}, others{vector.weight};
    uint64_t all = 0;
    for (const OwnedWeight* w : {&large, &stack, &small, &vector}) all += cuda::WeightStore::n_bytes_of(w->weight);
    std::vector<uint64_t> seen;
    ASSERT_TRUE(store.adopt(matrices, others, m_owner, [&](uint64_t done, uint64_t total) {
        EXPECT_EQ(total, all);
        seen.push_back(done);
        return true;
    }));
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    EXPECT_EQ(seen.back(), all);
    EXPECT_GE(seen.size(), 5u);
    EXPECT_EQ(store.n_bytes(), all);
    for (const OwnedWeight* w : {&large, &stack, &small}) expect_packed(w->weight, store.matrix(w->weight));
    const std::vector<float> values = vector.row(0);
    EXPECT_EQ(std::memcmp(store.vector(&vector.weight), values.data(), values.size() * sizeof(float)), 0);
    // All is there: nothing is on its way.
    EXPECT_TRUE(store.adopt(matrices, others, m_owner, [](uint64_t, uint64_t) { return false; }));
    EXPECT_EQ(store.n_passing(), 0u);
    EXPECT_FALSE(m_errors.failed());
}

TEST_F(CudaWeightStore, WhatIsCalledOffLeavesNothingOnTheDevice) {
    const OwnedWeight first(TensorType::kQ8_0, 64, 10, m_random), large(TensorType::kF32, 2048, 3000, m_random);
    const size_t before = cuda_emulation::counters().bytes_in_use;
    cuda::WeightStore store(m_errors, m_stream);
    for (const int at_call : {1, 2, 4}) {
        int n_calls = 0;
        EXPECT_FALSE(store.adopt(std::vector{first.weight, large.weight}, {}, m_owner, [&](uint64_t, uint64_t) { return ++n_calls < at_call; }));
        EXPECT_EQ(n_calls, at_call) << "nothing is told once it has been called off";
        EXPECT_EQ(cuda_emulation::counters().bytes_in_use, before);
        EXPECT_EQ(store.n_bytes(), 0u);
    }
    EXPECT_TRUE(store.adopt(std::vector{first.weight, large.weight}, {}, m_owner, {}));
    expect_packed(large.weight, store.matrix(large.weight));
    EXPECT_FALSE(m_errors.failed());
}

}  // namespace
}  // namespace gs::test
