// The back ends under test, random weights of every type, and error bounds that follow from how each product rounds.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/ops/ops.h"

namespace gs::test {

struct Backend {
    std::string simd;       ///< empty: the reference
    Precision precision = Precision::kExact;
    int n_threads = 1;
    bool adopts = false;    ///< every matrix is adopted before it is used, so that the back end's own copies are tested
    int cuda_seed = -1;     ///< the CUDA back end on the emulated device, its threads in an order of this seed

    bool is_reference() const { return simd.empty() && cuda_seed < 0; }
    std::unique_ptr<Ops> make() const;
    std::string name() const;
};

void PrintTo(const Backend& backend, std::ostream* out);   ///< or a test's name holds its bytes

/// Reference; then every instruction set here, exact and fast, with 1, 2 and 3 threads; then fast with adopted matrices; then the emulated device.
std::vector<Backend> all_backends();

class OpsTest : public testing::TestWithParam<Backend> {
protected:
    std::unique_ptr<Ops> m_ops = GetParam().make();
    std::mt19937 m_random{20240607};

    float uniform(float low, float high) { return std::uniform_real_distribution<float>(low, high)(m_random); }
    std::vector<float> values(size_t n, float low = -1, float high = 1);
    bool rounds(TensorType type) const;     ///< the product with this type rounds its input
};

/// Memory and view of activations. Rows are further apart than they are wide, as in the decoder's q·k·v buffers.
struct Matrix {
    Matrix(int n_rows, int n_cols, int gap = 0);
    Rows rows();
    std::vector<float> data;
    int n_rows, n_cols, stride;
};

/// A weight with its bytes: random blocks with sane scales.
struct OwnedWeight {
    OwnedWeight(TensorType type, int n_in, int n_out, std::mt19937& random, int n_slabs = 1);
    std::vector<float> row(int o, int slab = 0) const;    ///< dequantized

    std::vector<std::byte> bytes;
    std::vector<float> decoded;      ///< of all rows, once: decoding is slower than what is tested with it
    Weight weight;
};

struct OwnedFfn {
    OwnedFfn(TensorType gate_up, TensorType down_type, int n_embd, int width, std::mt19937& random, int n_slabs = 1);
    OwnedWeight gate, up, down;
    OwnedWeight gate_bias, up_bias, down_bias;            ///< not in use until use_bias()
    FfnWeights weights;
    void use_bias();
};

/// Values in f64 and how far a back end may be from each.
struct Bounded {
    std::vector<double> value, bound;
};

/// W x for an x that is itself known to ±bound. `rounds`: the input is rounded to max|block| / 16256 (half a step off at most).
Bounded bounded_product(const OwnedWeight& w, int slab, const Bounded& x, bool rounds);
Bounded bounded_ffn(const OwnedFfn& f, int slab, const Bounded& x, bool gate_rounds, bool down_rounds);
Bounded exactly(const float* x, int n);
/// sum += scale * y
void accumulate(Bounded& sum, const Bounded& y, double scale);
void expect_within(const float* actual, const Bounded& expected, const std::string& what);

inline constexpr double kEpsilon = 0x1p-24;   ///< half a unit in the last place of f32
/// Every type that weights can have.
std::vector<TensorType> loadable_types();

}  // namespace gs::test
