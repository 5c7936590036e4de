#include "tests/ops/backends.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/support/forwarding_ops.h"

namespace gs::test {

namespace {

/// Adopts the matrices of every call first, as a decoder does once for all.
class AdoptingOps final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    void linear(Rows x, std::span<const LinearCall> calls) override {
        std::vector<Weight> weights;
        for (const LinearCall& call : calls) weights.push_back(*call.weight);
        adopt_all(weights);
        ForwardingOps::linear(x, calls);
    }
    void ffn(const FfnWeights& weights, Rows x, Rows out) override {
        adopt_all({weights.gate, weights.up, weights.down});
        ForwardingOps::ffn(weights, x, out);
    }
    void moe(const MoeCall& call) override {
        std::vector<Weight> weights{call.experts->gate, call.experts->up, call.experts->down};
        if (call.shared) weights.insert(weights.end(), {call.shared->gate, call.shared->up, call.shared->down});
        adopt_all(weights);
        ForwardingOps::moe(call);
    }
    void all_experts(const FfnWeights& experts, Rows x, Rows out) override {
        adopt_all({experts.gate, experts.up, experts.down});
        ForwardingOps::all_experts(experts, x, out);
    }

private:
    void adopt_all(const std::vector<Weight>& weights) {
        m_owner = std::make_shared<int>();
        inner().adopt(weights, {}, m_owner, {});
    }
    std::shared_ptr<int> m_owner;
};

}  // namespace

std::unique_ptr<Ops> Backend::make() const {
    if (cuda_seed >= 0) {
        cuda_emulation::set_seed(static_cast<uint64_t>(cuda_seed));
        Result<std::unique_ptr<Ops>> made = make_cuda_ops({.precision = precision});
        EXPECT_TRUE(made) << made.error().message();
        if (adopts) return std::make_unique<AdoptingOps>(std::move(*made));
        return std::move(*made);
    }
    if (simd.empty()) return make_reference_ops();
    setenv("GATESCOPE_SIMD", simd.c_str(), 1);
    auto ops = make_cpu_ops({.n_threads = n_threads, .precision = precision});
    unsetenv("GATESCOPE_SIMD");
    if (adopts) return std::make_unique<AdoptingOps>(std::move(ops));
    return ops;
}

std::string Backend::name() const {
    const std::string how = (precision == Precision::kExact ? "_exact_" : "_fast_") + std::to_string(cuda_seed >= 0 ? cuda_seed : n_threads) + (adopts ? "_adopted" : "");
    if (cuda_seed >= 0) return "cuda_emulated" + how;
    return simd.empty() ? "reference" : simd + how;
}

void PrintTo(const Backend& backend, std::ostream* out) { *out << backend.name(); }

std::vector<Backend> all_backends() {
    std::vector<Backend> all{{}};
    for (const std::string& simd : cpu_instruction_sets())
        for (const Precision precision : {Precision::kExact, Precision::kFast})
            for (const int n_threads : {1, 2, 3}) all.push_back({simd, precision, n_threads});
    for (const int n_threads : {1, 2}) all.push_back({cpu_instruction_sets()[0], Precision::kFast, n_threads, true});
    all.push_back({.precision = Precision::kExact, .cuda_seed = 1});
    all.push_back({.precision = Precision::kFast, .cuda_seed = 2});
    all.push_back({.precision = Precision::kFast, .adopts = true, .cuda_seed = 3});
    return all;
}

std::vector<float> OpsTest::values(size_t n, float low, float high) {
    std::vector<float> v(n);
    for (float& x : v) x = uniform(low, high);
    return v;
}

bool OpsTest::rounds(TensorType type) const {
    return m_ops->precision() == Precision::kFast && cpu::has_fast_product(type);
}

std::vector<TensorType> loadable_types() {
    std::vector<TensorType> types;
    for (const TensorTypeInfo& info : all_tensor_types())
        if (info.dequantize) types.push_back(info.type);
    return types;
}

Matrix::Matrix(int rows, int cols, int gap)
    : data(static_cast<size_t>(rows) * static_cast<size_t>(cols + gap)), n_rows(rows), n_cols(cols), stride(cols + gap) {}

Rows Matrix::rows() { return {data.data(), n_rows, n_cols, stride}; }

namespace {

/// Where a block's halves are, and what they are of a common random scale, so that |scale q| <= 0.62 and |minimum| <= 0.35 in types that have both.
struct ScalePlace {
    TensorType type;
    int at;
    float part;
    int min_at = -1;
    float min_part = 0;
};
constexpr ScalePlace kScalePlaces[] = {
    {TensorType::kQ4_1, 0, 1, 2, -8},        {TensorType::kQ5_1, 0, 1, 2, -8},         {TensorType::kQ2_K, 80, 0.5f, 82, 1},
    {TensorType::kQ3_K, 108, 0.125f},        {TensorType::kQ4_K, 0, 1 / 32.0f, 2, 0.25f}, {TensorType::kQ5_K, 0, 1 / 64.0f, 2, 0.25f},
    {TensorType::kQ6_K, 208, 1 / 128.0f},    {TensorType::kIQ4_XS, 0, 1 / 128.0f},     {TensorType::kIQ2_XXS, 0, 0.125f},
    {TensorType::kIQ2_XS, 0, 0.125f},        {TensorType::kIQ2_S, 0, 0.125f},          {TensorType::kIQ3_XXS, 0, 1 / 16.0f},
    {TensorType::kIQ3_S, 0, 1 / 16.0f},      {TensorType::kTQ1_0, 52, 8},              {TensorType::kTQ2_0, 64, 8},
    {TensorType::kQ1_0, 0, 8},               {TensorType::kQ2_0, 0, 8},
};

void put_half(std::byte* p, float value) {
    const uint16_t half = float_to_half(value);
    std::memcpy(p, &half, sizeof half);
}

/// Replaces the scales of a block of random bytes by two of 0.002 .. 0.02, and what else keeps values small.
void put_scales(TensorType type, std::byte* block, float scale, float min) {
    if (type == TensorType::kMXFP4) {
        block[0] = std::byte{118} | (block[0] & std::byte{1});
    } else if (type == TensorType::kNVFP4) {
        for (int i = 0; i < 4; ++i) block[i] &= std::byte{31};
    } else if (type == TensorType::kIQ1_M) {  // the half is in the upper four bits of four words
        const uint16_t half = float_to_half(scale);
        for (int i = 0; i < 4; ++i) block[49 + 2 * i] = (block[49 + 2 * i] & std::byte{15}) | static_cast<std::byte>(half >> 4 * i << 4 & 0xf0);
    } else {
        const auto* found = std::find_if(std::begin(kScalePlaces), std::end(kScalePlaces), [&](const ScalePlace& place) { return place.type == type; });
        const ScalePlace place = found != std::end(kScalePlaces) ? *found : ScalePlace{type, 0, 1};
        put_half(block + place.at, place.part * scale);
        if (place.min_at >= 0) put_half(block + place.min_at, place.min_part * min);
    }
}

}  // namespace

OwnedWeight::OwnedWeight(TensorType type, int n_in, int n_out, std::mt19937& random, int n_slabs) {
    const TensorTypeInfo& info = tensor_type_info(type);
    const size_t n_blocks = static_cast<size_t>(n_in) / info.block_values;
    weight = {type, nullptr, n_in, n_out, n_slabs, n_blocks * info.block_bytes};
    bytes.resize(weight.n_bytes());
    std::uniform_real_distribution<float> value(-1, 1), scale(0.002f, 0.02f);
    for (std::byte* p = bytes.data(); p != bytes.data() + bytes.size(); p += info.block_bytes) {
        if (info.block_values == 1) {
            const float v = value(random);
            if (type == TensorType::kF32) std::memcpy(p, &v, sizeof v);
            else if (type == TensorType::kF16) put_half(p, v);
            else std::memcpy(p, reinterpret_cast<const std::byte*>(&v) + 2, 2);
            continue;
        }
        for (uint32_t i = 0; i < info.block_bytes; ++i) p[i] = static_cast<std::byte>(random() & 255u);
        const float first = scale(random), second = scale(random);
        put_scales(type, p, first, second);
    }
    weight.data = bytes.data();
    decoded.resize(bytes.size() / info.block_bytes * info.block_values);
    info.dequantize(bytes.data(), bytes.size() / info.block_bytes, decoded.data());
}

std::vector<float> OwnedWeight::row(int o, int slab) const {
    const auto n = static_cast<size_t>(weight.n_in);
    const auto first = decoded.begin() + static_cast<ptrdiff_t>((static_cast<size_t>(slab) * static_cast<size_t>(weight.n_out) + static_cast<size_t>(o)) * n);
    return {first, first + static_cast<ptrdiff_t>(n)};
}

OwnedFfn::OwnedFfn(TensorType gate_up, TensorType down_type, int n_embd, int width, std::mt19937& random, int n_slabs)
    : gate(gate_up, n_embd, width, random, n_slabs), up(gate_up, n_embd, width, random, n_slabs), down(down_type, width, n_embd, random, n_slabs),
      gate_bias(TensorType::kF32, width, 1, random, n_slabs), up_bias(TensorType::kBF16, width, 1, random, n_slabs),
      down_bias(TensorType::kF32, n_embd, 1, random, n_slabs), weights{gate.weight, up.weight, down.weight} {}

void OwnedFfn::use_bias() {
    weights.gate_bias = gate_bias.weight;
    weights.up_bias = up_bias.weight;
    weights.down_bias = down_bias.weight;
}

Bounded exactly(const float* x, int n) { return {{x, x + n}, std::vector<double>(static_cast<size_t>(n), 0.0)}; }

Bounded bounded_product(const OwnedWeight& w, int slab, const Bounded& x, bool rounds) {
    const auto n = static_cast<size_t>(w.weight.n_in);
    std::vector<double> input_error = x.bound;
    for (size_t b = 0; rounds && b < n; b += 32) {
        double largest = 0;
        for (size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::fabs(x.value[i]) + x.bound[i]);
        // Half a step, and the f32 arithmetic of the rounding itself (quotient and product: a few units in the last place).
        for (size_t i = b; i < b + 32; ++i) input_error[i] += largest / 16256 * 0.5 + 4 * kEpsilon * largest;
    }
    Bounded y;
    for (int o = 0; o < w.weight.n_out; ++o) {
        const std::vector<float> row = w.row(o, slab);
        double sum = 0, magnitude = 0, error = 0;
        for (size_t i = 0; i < n; ++i) {
            sum += row[i] * x.value[i];
            // A block's minimum is summed apart in the fast product: its terms are as large as scale q, not as their difference.
            magnitude += std::fabs(row[i] * x.value[i]) + (rounds ? 0.7 * std::fabs(x.value[i]) : 0.0);
            error += std::fabs(row[i]) * input_error[i];
        }
        y.value.push_back(sum);
        // Higham, Accuracy and Stability of Numerical Algorithms, 3.1: n eps Σ|w||x| for any order of summation.
        y.bound.push_back(error + (static_cast<double>(n) + 8) * kEpsilon * magnitude);
    }
    return y;
}

namespace {

/// act(g, u) with both slopes bounded, section 4.
Bounded bounded_activation(Activation kind, const Bounded& g, const Bounded& u) {
    Bounded h;
    for (size_t i = 0; i < g.value.size(); ++i) {
        double act = 0, times = u.value[i], slope = 0, z = 0;   // act(g) · times; largest slope of act; argument of the exponential
        const double x = g.value[i];
        switch (kind) {
            case Activation::kSilu: act = x / (1 + std::exp(-x)), slope = 1.1, z = x; break;
            case Activation::kGelu:
                z = 2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x), act = 0.5 * x * (1 + std::tanh(z / 2)), slope = 1.13;
                break;
            case Activation::kClampedSilu:
                z = 1.702 * std::min(x, 7.0), act = std::min(x, 7.0) / (1 + std::exp(-z)), slope = 1.1, times = std::clamp(times, -7.0, 7.0) + 1;
                break;
        }
        h.value.push_back(act * times);
        // exp, quotient and products in f32: 8 units, and as many of the argument z as it is large, where act does not vanish with it.
        h.bound.push_back(slope * g.bound[i] * (std::fabs(times) + u.bound[i]) + std::fabs(act) * u.bound[i] +
                          (8 + 4 * std::min(std::fabs(z), 90.0)) * kEpsilon * std::fabs(act) * (std::fabs(times) + 1));
    }
    return h;
}

void add_bias(Bounded& y, const Weight& bias, int slab) {
    if (!bias) return;
    std::vector<float> values(static_cast<size_t>(bias.n_in));
    tensor_type_info(bias.type).dequantize(bias.row(0, slab), values.size(), values.data());
    for (size_t i = 0; i < values.size(); ++i) {
        y.value[i] += static_cast<double>(values[i]);
        y.bound[i] += 2 * kEpsilon * (std::fabs(y.value[i]) + std::fabs(static_cast<double>(values[i])));
    }
}

}  // namespace

Bounded bounded_ffn(const OwnedFfn& f, int slab, const Bounded& x, bool gate_rounds, bool down_rounds) {
    Bounded g = bounded_product(f.gate, slab, x, gate_rounds), u = bounded_product(f.up, slab, x, gate_rounds);
    add_bias(g, f.weights.gate_bias, slab);
    add_bias(u, f.weights.up_bias, slab);
    Bounded y = bounded_product(f.down, slab, bounded_activation(f.weights.activation, g, u), down_rounds);
    add_bias(y, f.weights.down_bias, slab);
    return y;
}

void accumulate(Bounded& sum, const Bounded& y, double scale) {
    for (size_t i = 0; i < sum.value.size(); ++i) {
        sum.value[i] += scale * y.value[i];
        sum.bound[i] += std::fabs(scale) * y.bound[i] + 2 * kEpsilon * (std::fabs(sum.value[i]) + std::fabs(scale * y.value[i]));
    }
}

void expect_within(const float* actual, const Bounded& expected, const std::string& what) {
    for (size_t i = 0; i < expected.value.size(); ++i)
        ASSERT_NEAR(actual[i], expected.value[i], expected.bound[i] + kEpsilon * std::fabs(expected.value[i])) << what << ", value " << i;
}

}  // namespace gs::test
