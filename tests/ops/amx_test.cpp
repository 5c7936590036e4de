// The AMX product, which few processors can run, against that of VNNI, bit by bit: over emulated tiles, and as machine code whose tile
// instructions are carried out by a signal handler. On a processor with AMX the machine code runs as it is, and the set "amx" is one of
// all_backends() and so of every other test here.
#if defined(__x86_64__) && defined(__linux__)
#include <algorithm>
#include <bit>
#include <numeric>

#include "engine/ops/cpu/scratch.h"
#include "engine/ops/cpu/vnni_input.h"
#include "tests/ops/amx_trap.h"
#include "tests/ops/backends.h"

namespace gs::test {
namespace {

constexpr int kMostTokens = 40;

class AmxGemm : public testing::Test {
protected:
    using Gemm = decltype(cpu::MatmulKernels::gemm);
    static constexpr int kStride = 37;

    void SetUp() override {
        const std::vector<std::string> sets = cpu::available_kernels();
        if (std::find(sets.begin(), sets.end(), "avx3_dl") == sets.end()) GTEST_SKIP() << "no AVX-512 VNNI to compare with";
        m_vnni = *cpu::choose_kernels("avx3_dl");
    }

    /// Inputs of kMostTokens tokens; one has what is not finite, which must not reach another.
    void prepare(int n_in) {
        const size_t n_bytes = m_vnni.fast.input_bytes(n_in);
        m_inputs.clear();
        std::byte* memory = m_input_memory.reserve(n_bytes * kMostTokens);
        std::uniform_real_distribution<float> value(-3, 3);
        for (int t = 0; t < kMostTokens; ++t) {
            std::vector<float> x(static_cast<size_t>(n_in));
            for (float& v : x) v = value(m_random);
            if (t == 3) x[x.size() / 2] = INFINITY;
            m_inputs.push_back(memory + n_bytes * static_cast<size_t>(t));
            m_vnni.fast.prepare(x.data(), n_in, memory + n_bytes * static_cast<size_t>(t));
        }
        // Tokens of an expert are not side by side.
        std::shuffle(m_inputs.begin(), m_inputs.end(), m_random);
    }

    /// The bits of all that a product writes and of what is between.
    std::vector<uint32_t> bits(Gemm gemm, const std::byte* panel, const Weight& w, int n_rows, int n_tokens) const {
        std::vector<float> out(kMostTokens * kStride, 42.0f);
        gemm(panel, w, n_rows, m_inputs.data(), n_tokens, out.data(), kStride);
        std::vector<uint32_t> all(out.size());
        for (size_t i = 0; i < out.size(); ++i) all[i] = std::bit_cast<uint32_t>(out[i]);
        return all;
    }

    void expect_equal(Gemm amx, const cpu::MatmulKernels& product, const Weight& w, int n_rows, const std::vector<int>& token_counts) {
        std::byte* panel = m_panel.reserve(product.panel_bytes(w.n_in));
        product.pack(w, 0, n_rows, panel);
        for (const int n : token_counts)
            ASSERT_EQ(bits(product.gemm, panel, w, n_rows, n), bits(amx, panel, w, n_rows, n))
                << tensor_type_info(w.type).name << ' ' << w.n_in << 'x' << n_rows << ", tokens " << n;
    }

    /// Every type, with the given numbers of blocks and rows.
    void expect_equal_of_every_type(Gemm amx, const std::vector<int>& block_counts, const std::vector<int>& row_counts,
                                    const std::vector<int>& token_counts) {
        for (const TensorType type : loadable_types()) {
            if (!cpu::has_fast_product(type)) continue;
            for (const int n_blocks : block_counts) {
                const int n_in = n_blocks * static_cast<int>(tensor_type_info(type).block_values);
                prepare(n_in);
                const OwnedWeight w(type, n_in, 32, m_random);
                for (const int n_rows : row_counts) expect_equal(amx, m_vnni.fast, w.weight, n_rows, token_counts);
                if (HasFatalFailure()) return;
            }
        }
    }

    cpu::Kernels m_vnni;
    std::mt19937 m_random{20240607};
    std::vector<const std::byte*> m_inputs;
    cpu::Scratch m_input_memory, m_panel;
};

std::vector<int> all_token_counts() {
    std::vector<int> counts(kMostTokens);
    std::iota(counts.begin(), counts.end(), 1);
    return counts;
}

TEST_F(AmxGemm, OverEmulatedTilesEqualsThatOfVnniToTheBit) {
    expect_equal_of_every_type(cpu::amx_emulated_gemm, {1, 3}, {17}, all_token_counts());
    expect_equal_of_every_type(cpu::amx_emulated_gemm, {1, 3}, {1, 16, 32}, {5, 16, 20, 40});
}

/// A part holds 512 values: a whole one, and an odd number of runs over one and over two.
TEST_F(AmxGemm, GoesOnFromPartToPart) {
    for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ5_1})
        for (const int n_in : {512, 544, 1056}) {
            prepare(n_in);
            const OwnedWeight w(type, n_in, 32, m_random);
            expect_equal(cpu::amx_emulated_gemm, m_vnni.fast, w.weight, 32, {1, 7, 16, 37});
        }
    for (const TensorType type : {TensorType::kQ2_K, TensorType::kNVFP4}) {
        prepare(1280);
        const OwnedWeight w(type, 1280, 32, m_random);
        expect_equal(cpu::amx_emulated_gemm, m_vnni.fast, w.weight, 32, {37});
    }
}

TEST_F(AmxGemm, AsMachineCodeEqualsThatOfVnniToTheBit) {
    const AmxTrap trap;
    cpu::Kernels amx = m_vnni;
    cpu::add_amx_kernels(amx);
    expect_equal_of_every_type(amx.fast.gemm, {1, 3}, {16, 32}, {5, 37});
    EXPECT_TRUE(cpu::amx_supported() || trap.n_instructions() > 1000);
}

TEST_F(AmxGemm, IsComparedBeforeItIsReliedOn) {
    EXPECT_TRUE(cpu::agrees_with_vnni_gemm(cpu::amx_emulated_gemm));
    EXPECT_FALSE(cpu::agrees_with_vnni_gemm([](const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n, float* out, ptrdiff_t stride) {
        cpu::vnni_gemm(panel, w, n_rows, inputs, n, out, stride);
        if (w.type == TensorType::kQ2_K) out[(n - 1) * stride + n_rows - 1] *= 1.0000002f;   // the last type's last value
    }));
}

TEST_F(AmxGemm, EqualsThatOfVnniWithPanelsOfTiles) {
    for (const TensorType type : loadable_types()) {
        if (!cpu::has_tiles(type)) continue;
        prepare(96);
        const OwnedWeight w(type, 96, 32, m_random);
        cpu::Scratch memory;
        Weight tiled = w.weight;
        tiled.data = memory.reserve(tiled.n_bytes());
        tiled.tiled = true;
        m_vnni.tile(w.weight, 0, 32, const_cast<std::byte*>(tiled.data));
        for (const int n_rows : {16, 32}) expect_equal(cpu::amx_emulated_gemm, m_vnni.tiled, tiled, n_rows, {5, 33});
    }
}

}  // namespace
}  // namespace gs::test
#endif
