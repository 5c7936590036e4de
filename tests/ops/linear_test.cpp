// Products: every back end against f64 over the dequantized weights.
#include <algorithm>

#include "tests/ops/backends.h"

namespace gs::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Backends, OpsTest, testing::ValuesIn(all_backends()), [](const auto& row) { return row.param.name(); });

struct Shape {
    int n_in, n_out;
};

TEST_P(OpsTest, LinearOfEveryTypeStaysWithinItsRoundingBound) {
    for (const TensorType type : loadable_types()) {
        const int block = static_cast<int>(tensor_type_info(type).block_values);
        // One block, an odd number of blocks, over one segment of 64; rows that do not fill a tile of 16; for plain types also odd widths.
        std::vector<Shape> shapes{{32, 1}, {96, 33}, {576, 19}, {2144, 5}};
        if (block == 1) shapes.insert(shapes.end(), {{1, 1}, {7, 3}, {37, 17}, {301, 18}});
        if (block > 32) shapes = {{block, 1}, {2 * block, 19}, {3 * block, 33}};
        for (const Shape shape : shapes)
            for (const int n_tokens : {1, 3, 4, 7, 33}) {
                if (n_tokens == 33 && shape.n_in > 600) continue;
                const OwnedWeight w(type, shape.n_in, shape.n_out, m_random);
                Matrix x(n_tokens, shape.n_in, 5), out(n_tokens, shape.n_out, 3);
                for (float& v : x.data) v = uniform(-3, 3);
                const LinearCall call{&w.weight, nullptr, out.rows()};
                m_ops->linear(x.rows(), {&call, 1});
                for (int t = 0; t < n_tokens; ++t)
                    expect_within(out.rows().row(t), bounded_product(w, 0, exactly(x.rows().row(t), shape.n_in), rounds(type)),
                                  std::string(tensor_type_info(type).name) + " " + std::to_string(shape.n_in) + "x" + std::to_string(shape.n_out) +
                                      " token " + std::to_string(t) + " of " + std::to_string(n_tokens));
                if (HasFatalFailure()) return;
            }
    }
}

TEST_P(OpsTest, LinearWritesOnlyItsOwnColumns) {
    for (const int n_tokens : {1, 9}) {
        const OwnedWeight w(TensorType::kQ8_0, 64, 21, m_random);
        Matrix x(n_tokens, 64), out(n_tokens, 21, 11);
        x.data = values(x.data.size());
        std::fill(out.data.begin(), out.data.end(), 42.0f);
        const LinearCall call{&w.weight, nullptr, out.rows()};
        m_ops->linear(x.rows(), {&call, 1});
        for (int t = 0; t < n_tokens; ++t)
            for (int i = 21; i < 32; ++i) EXPECT_EQ(out.rows().row(t)[i], 42.0f);
    }
}

TEST_P(OpsTest, SeveralMatricesOfMixedTypesShareOneInputAndTakeBiases) {
    const OwnedWeight q(TensorType::kIQ4_NL, 96, 48, m_random), k(TensorType::kF16, 96, 16, m_random), v(TensorType::kQ5_0, 96, 17, m_random);
    const OwnedWeight bias(TensorType::kF32, 48, 1, m_random);
    const Weight none;
    for (const int n_tokens : {1, 5}) {
        Matrix x(n_tokens, 96), all(n_tokens, 48 + 16 + 17);
        x.data = values(x.data.size());
        const LinearCall calls[] = {{&q.weight, &bias.weight, all.rows().columns(0, 48)},
                                    {&k.weight, &none, all.rows().columns(48, 16)},
                                    {&v.weight, nullptr, all.rows().columns(64, 17)}};
        m_ops->linear(x.rows(), calls);
        for (int t = 0; t < n_tokens; ++t) {
            const Bounded in = exactly(x.rows().row(t), 96);
            Bounded with_bias = bounded_product(q, 0, in, rounds(TensorType::kIQ4_NL));
            accumulate(with_bias, exactly(bias.row(0).data(), 48), 1);
            expect_within(all.rows().row(t), with_bias, "q");
            expect_within(all.rows().row(t) + 48, bounded_product(k, 0, in, false), "k");
            expect_within(all.rows().row(t) + 64, bounded_product(v, 0, in, rounds(TensorType::kQ5_0)), "v");
        }
    }
}

TEST_P(OpsTest, ResultsDoNotDependOnTheNumberOfThreads) {
    if (GetParam().simd.empty()) GTEST_SKIP() << "no threads of the processor";
    Backend single = GetParam();
    single.n_threads = 1;
    const auto other = single.make();
    for (const auto& [n_tokens, type] : {std::pair{1, TensorType::kQ4_1}, {20, TensorType::kQ4_1}, {1, TensorType::kQ6_K}, {20, TensorType::kQ4_K},
                                        {1, TensorType::kIQ3_S}, {20, TensorType::kIQ2_XXS}}) {
        const OwnedWeight w(type, 512, 800, m_random);
        Matrix x(n_tokens, 512), a(n_tokens, 800), b(n_tokens, 800);
        x.data = values(x.data.size());
        const LinearCall to_a{&w.weight, nullptr, a.rows()}, to_b{&w.weight, nullptr, b.rows()};
        m_ops->linear(x.rows(), {&to_a, 1});
        other->linear(x.rows(), {&to_b, 1});
        EXPECT_EQ(a.data, b.data);
    }
}

TEST_P(OpsTest, InfinityAndNotANumberReachTheOutput) {
    const OwnedWeight small(TensorType::kQ8_0, 96, 16, m_random), super(TensorType::kQ4_K, 256, 16, m_random), book(TensorType::kIQ2_S, 256, 16, m_random);
    for (const float bad : {INFINITY, -INFINITY, NAN})
        for (const auto& [n_tokens, w] : {std::pair{1, &small}, {4, &small}, {1, &super}, {4, &super}, {1, &book}, {4, &book}}) {
            Matrix x(n_tokens, w->weight.n_in), out(n_tokens, 16);
            x.data = values(x.data.size());
            x.data[40] = bad;
            const LinearCall call{&w->weight, nullptr, out.rows()};
            m_ops->linear(x.rows(), {&call, 1});
            for (int i = 0; i < 16; ++i) EXPECT_FALSE(std::isfinite(out.data[static_cast<size_t>(i)]) && w->row(i)[40] != 0) << bad << " row " << i;
        }
}

TEST_P(OpsTest, ZeroInputGivesZero) {
    for (const TensorType type : loadable_types()) {
        const OwnedWeight w(type, 256, 20, m_random);
        Matrix x(6, 256), out(6, 20);
        std::fill(out.data.begin(), out.data.end(), 1.0f);
        const LinearCall call{&w.weight, nullptr, out.rows()};
        m_ops->linear(x.rows(), {&call, 1});
        for (const float v : out.data) EXPECT_EQ(v, 0.0f);
    }
}

TEST_P(OpsTest, MemoryIsZeroedAlignedAndRefusedWhenAbsurd) {
    float* memory = m_ops->allocate(1000);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    for (int i = 0; i < 1000; ++i) EXPECT_EQ(memory[i], 0.0f);
    const std::vector<float> sent = values(1000);
    std::vector<float> back(1000);
    m_ops->write(sent.data(), memory, 1000);
    m_ops->read(memory, back.data(), 1000);
    EXPECT_EQ(sent, back);
    m_ops->release(memory);
    EXPECT_EQ(m_ops->allocate(SIZE_MAX / 8), nullptr);
    EXPECT_EQ(m_ops->allocate(SIZE_MAX), nullptr);
}

TEST_P(OpsTest, AReadbackBringsWhatWasThereWhenItWasAskedFor) {
    const std::unique_ptr<Readback> readback = m_ops->make_readback(1000);
    ASSERT_NE(readback, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(readback->data()) % 64, 0u);
    const auto bring = [&](size_t n, bool wait_before) {
        readback->begin(n);
        float other = 0;
        if (wait_before) m_ops->read(readback->data(), &other, 1);
        const std::span<const float> values = readback->end();
        EXPECT_EQ(readback->end().data(), values.data()) << "asked twice, given twice";
        return std::vector<float>(values.begin(), values.end());
    };
    EXPECT_EQ(bring(1000, false), std::vector<float>(1000));
    for (const bool wait_before : {false, true}) {
        const std::vector<float> sent = values(1000);
        m_ops->write(sent.data(), readback->data(), 1000);
        EXPECT_EQ(bring(1000, wait_before), sent);
        // An operation's result, asked for before the device can have had the time.
        const Rows rows{readback->data(), 1, 7, 7};
        m_ops->scale(rows, 2);
        std::vector<float> doubled(sent.begin(), sent.begin() + 7);
        for (float& v : doubled) v *= 2;
        EXPECT_EQ(bring(7, wait_before), doubled);
    }
    EXPECT_EQ(m_ops->make_readback(SIZE_MAX / 8), nullptr);
    EXPECT_EQ(m_ops->make_readback(SIZE_MAX), nullptr);
}

TEST_P(OpsTest, TimesCountCallsAndWeightBytes) {
    if (GetParam().is_reference()) GTEST_SKIP() << "the reference is not timed";
    const OwnedWeight w(TensorType::kQ8_0, 64, 16, m_random);
    Matrix x(1, 64), out(1, 16);
    const LinearCall call{&w.weight, nullptr, out.rows()};
    m_ops->reset_times();
    m_ops->linear(x.rows(), {&call, 1});
    m_ops->linear(x.rows(), {&call, 1});
    uint64_t calls = 0, bytes = 0;
    for (const Ops::OpTime& time : m_ops->times()) calls += time.calls, bytes += time.weight_bytes;
    EXPECT_EQ(calls, 2u);
    EXPECT_EQ(bytes, 2 * w.weight.n_bytes());
}

TEST(CpuOps, TheEnvironmentForcesAnInstructionSetThatTheNameTells) {
    ASSERT_FALSE(cpu_instruction_sets().empty());
    std::vector<std::string> names;
    for (const std::string& simd : cpu_instruction_sets()) names.push_back(Backend{simd, Precision::kFast, 2}.make()->name());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
    EXPECT_EQ((Backend{"no such set", Precision::kFast, 2}.make()->name()), (Backend{cpu_instruction_sets()[0], Precision::kFast, 2}.make()->name()));
}

}  // namespace
}  // namespace gs::test
