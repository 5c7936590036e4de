// Row operations other than products: norm, silu, sums, rotation.
#include "engine/ops/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/ops/cpu/vectors.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>

#include <cmath>

#include "engine/ops/cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

/// The sum in f64: n up to some thousand squares, and the norm scales everything that follows.
double SumOfSquares(const float* x, int n) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    double total = 0;
    int i = 0;
    for (; i + 4 * lanes <= n;) {
        auto sum = hn::Zero(d);
        for (int j = 0; j < 4; ++j, i += lanes) {
            const auto v = hn::LoadU(d, x + i);
            sum = hn::MulAdd(v, v, sum);
        }
        total += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
    }
    for (; i < n; ++i) total += static_cast<double>(x[i]) * x[i];
    return total;
}

void RmsNorm(const float* x, const float* weight, int n, float eps, float* out) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    const auto factor = static_cast<float>(1 / std::sqrt(SumOfSquares(x, n) / n + static_cast<double>(eps)));
    int i = 0;
    for (; i + lanes <= n; i += lanes)
        hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, factor)), hn::LoadU(d, weight + i)), d, out + i);
    for (; i < n; ++i) out[i] = x[i] * factor * weight[i];
}

/// g sigmoid(z) u. exp is clamped where its reciprocal is zero to f32 anyway: Highway's has no defined result above 104.
template <class DD>
hn::Vec<DD> GateTimes(DD d, hn::Vec<DD> g, hn::Vec<DD> z, hn::Vec<DD> u) {
    const auto e = hn::Exp(d, hn::Min(hn::Neg(z), hn::Set(d, 88.0f)));
    return hn::Mul(hn::Div(g, hn::Add(hn::Set(d, 1.0f), e)), u);
}

struct Silu {
    template <class DD>
    hn::Vec<DD> operator()(DD d, hn::Vec<DD> g, hn::Vec<DD> u) const {
        return GateTimes(d, g, g, u);
    }
};

/// (1 + tanh(y)) / 2 is sigmoid(2 y).
struct Gelu {
    template <class DD>
    hn::Vec<DD> operator()(DD d, hn::Vec<DD> g, hn::Vec<DD> u) const {
        const auto cube = hn::Mul(hn::Mul(hn::Mul(g, g), g), hn::Set(d, 0.044715f));
        return GateTimes(d, g, hn::Mul(hn::Add(g, cube), hn::Set(d, 1.5957691216f)), u);   // 2 sqrt(2 / pi)
    }
};

struct ClampedSilu {
    template <class DD>
    hn::Vec<DD> operator()(DD d, hn::Vec<DD> g, hn::Vec<DD> u) const {
        const auto limit = hn::Set(d, 7.0f);
        const auto low = hn::Min(g, limit), inside = hn::Max(hn::Min(u, limit), hn::Neg(limit));
        return GateTimes(d, low, hn::Mul(low, hn::Set(d, 1.702f)), hn::Add(inside, hn::Set(d, 1.0f)));
    }
};

template <class Act>
void Activate(const float* gate, const float* up, int n, float* out) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    int i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(Act()(d, hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, out + i);
    const hn::CappedTag<float, 1> one;
    for (; i < n; ++i) hn::StoreU(Act()(one, hn::LoadU(one, gate + i), hn::LoadU(one, up + i)), one, out + i);
}

void AddScaled(float* x, const float* y, int n, float scale) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    int i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::MulAdd(hn::Set(d, scale), hn::LoadU(d, y + i), hn::LoadU(d, x + i)), d, x + i);
    for (; i < n; ++i) x[i] += scale * y[i];
}

void SetScaled(float* x, const float* y, int n, float scale) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    int i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Mul(hn::Set(d, scale), hn::LoadU(d, y + i)), d, x + i);
    for (; i < n; ++i) x[i] = scale * y[i];
}

void Rotate(float* head, const float* cosines, const float* sines, int n_pairs, bool halves) {
    const D d;
    const int lanes = static_cast<int>(hn::Lanes(d));
    int i = 0;
    for (; i + lanes <= n_pairs; i += lanes) {
        const auto c = hn::LoadU(d, cosines + i), s = hn::LoadU(d, sines + i);
        auto a = hn::Undefined(d), b = hn::Undefined(d);
        if (halves) {
            a = hn::LoadU(d, head + i);
            b = hn::LoadU(d, head + n_pairs + i);
        } else {
            hn::LoadInterleaved2(d, head + 2 * i, a, b);
        }
        const auto ra = hn::NegMulAdd(b, s, hn::Mul(a, c)), rb = hn::MulAdd(b, c, hn::Mul(a, s));
        if (halves) {
            hn::StoreU(ra, d, head + i);
            hn::StoreU(rb, d, head + n_pairs + i);
        } else {
            hn::StoreInterleaved2(ra, rb, d, head + 2 * i);
        }
    }
    for (; i < n_pairs; ++i) {
        float &a = head[halves ? i : 2 * i], &b = head[halves ? i + n_pairs : 2 * i + 1];
        const float a0 = a, b0 = b;
        a = a0 * cosines[i] - b0 * sines[i];
        b = a0 * sines[i] + b0 * cosines[i];
    }
}

void FillVectorKernels(Kernels& k) {
    k.rms_norm = RmsNorm;
    k.activate = {Activate<Silu>, Activate<Gelu>, Activate<ClampedSilu>};   // in the order of Activation
    k.add_scaled = AddScaled;
    k.set_scaled = SetScaled;
    k.rotate = Rotate;
}

}  // namespace
}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gs::cpu {
HWY_EXPORT(FillVectorKernels);
void add_vector_kernels(Kernels& kernels, int64_t target) { GS_CALL_TARGET(FillVectorKernels, target, kernels); }
}  // namespace gs::cpu
#endif
