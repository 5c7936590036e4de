// Unpacking of quantized blocks (spec/gguf.md section 4.2) for the current Highway target: 32 values as int8, and the block's scale and minimum.
// Included once a target by files that use foreach_target.h.
#if defined(GS_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_UNPACK_INL_H_
#undef GS_UNPACK_INL_H_
#else
#define GS_UNPACK_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "engine/core/check.h"
#include "engine/model/weights.h"
#include "engine/ops/cpu/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <TensorType kType>
struct BlockTraits;  // bytes of a block; whether there is a minimum, a fifth bit; offset of the nibbles; what is subtracted from n
template <> struct BlockTraits<TensorType::kQ4_0> { static constexpr int kBytes = 18, kMin = 0, kFifth = 0, kValues = 2, kCentre = 8; };
template <> struct BlockTraits<TensorType::kQ4_1> { static constexpr int kBytes = 20, kMin = 1, kFifth = 0, kValues = 4, kCentre = 0; };
template <> struct BlockTraits<TensorType::kQ5_0> { static constexpr int kBytes = 22, kMin = 0, kFifth = 2, kValues = 6, kCentre = 16; };
template <> struct BlockTraits<TensorType::kQ5_1> { static constexpr int kBytes = 24, kMin = 1, kFifth = 4, kValues = 8, kCentre = 0; };
template <> struct BlockTraits<TensorType::kQ8_0> { static constexpr int kBytes = 34, kMin = 0, kFifth = 0, kValues = 2, kCentre = 0; };
template <> struct BlockTraits<TensorType::kIQ4_NL> { static constexpr int kBytes = 18, kMin = 0, kFifth = 0, kValues = 2, kCentre = 0; };

HWY_INLINE float LoadHalf(const uint8_t* p) {
    const hn::CappedTag<float, 1> d;
    const hn::Rebind<hwy::float16_t, decltype(d)> dh;
    hwy::float16_t h;
    std::memcpy(&h, p, sizeof h);
    return hn::GetLane(hn::PromoteTo(d, hn::Load(dh, &h)));
}

template <TensorType kType>
HWY_INLINE float BlockScale(const uint8_t* block) { return LoadHalf(block); }
template <TensorType kType>
HWY_INLINE float BlockMin(const uint8_t* block) { return BlockTraits<kType>::kMin ? LoadHalf(block + 2) : 0.0f; }

/// 0x10 in each byte whose bit of the 16 at p is set.
template <class D>
HWY_INLINE hn::Vec<D> FifthBits(D d, const uint8_t* p) {
    alignas(16) static constexpr uint8_t kSpread[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    alignas(16) static constexpr uint8_t kBit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const hn::Repartition<uint16_t, D> d16;
    uint16_t bits;
    std::memcpy(&bits, p, sizeof bits);
    const auto spread = hn::TableLookupBytes(hn::BitCast(d, hn::Set(d16, bits)), hn::Load(d, kSpread));
    return hn::IfThenElseZero(hn::TestBit(spread, hn::Load(d, kBit)), hn::Set(d, uint8_t{16}));
}

/// The 32 integers of a block, to memory aligned to 32.
template <TensorType kType>
HWY_INLINE void UnpackBlock(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    using T = BlockTraits<kType>;
    if constexpr (kType == TensorType::kQ8_0) {
        std::memcpy(out, block + T::kValues, kBlock);
    } else {
        const hn::Full128<uint8_t> d;
        const hn::Full128<int8_t> di;
        const hn::Repartition<uint16_t, decltype(d)> d16;
        const auto bytes = hn::LoadU(d, block + T::kValues);
        const auto mask = hn::Set(d, uint8_t{15});
        auto lo = hn::And(bytes, mask);
        auto hi = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(d16, bytes))), mask);
        if constexpr (kType == TensorType::kIQ4_NL) {
            alignas(16) static constexpr int8_t kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
            const auto table = hn::BitCast(d, hn::Load(di, kTable));
            lo = hn::TableLookupBytes(table, lo);
            hi = hn::TableLookupBytes(table, hi);
        }
        if constexpr (T::kFifth != 0) {
            lo = hn::Or(lo, FifthBits(d, block + T::kFifth));
            hi = hn::Or(hi, FifthBits(d, block + T::kFifth + 2));
        }
        if constexpr (T::kCentre != 0) {
            lo = hn::Sub(lo, hn::Set(d, uint8_t{T::kCentre}));
            hi = hn::Sub(hi, hn::Set(d, uint8_t{T::kCentre}));
        }
        hn::Store(hn::BitCast(di, lo), di, out);
        hn::Store(hn::BitCast(di, hi), di, out + 16);
    }
}

/// Calls f.template operator()<type>() for a quantized type.
template <class F>
HWY_INLINE void ForQuantized(TensorType type, const F& f) {
    switch (type) {
        case TensorType::kQ4_0: return f.template operator()<TensorType::kQ4_0>();
        case TensorType::kQ4_1: return f.template operator()<TensorType::kQ4_1>();
        case TensorType::kQ5_0: return f.template operator()<TensorType::kQ5_0>();
        case TensorType::kQ5_1: return f.template operator()<TensorType::kQ5_1>();
        case TensorType::kQ8_0: return f.template operator()<TensorType::kQ8_0>();
        case TensorType::kIQ4_NL: return f.template operator()<TensorType::kIQ4_NL>();
        default: GS_CHECK(false, "not a quantized type with a product");
    }
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
