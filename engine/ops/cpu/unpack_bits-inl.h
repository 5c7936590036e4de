// Unpacking of the types of one and two bits, ternary ones and NVFP4 for the current Highway target. Included by unpack-inl.h.
#if defined(GS_UNPACK_BITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_UNPACK_BITS_INL_H_
#undef GS_UNPACK_BITS_INL_H_
#else
#define GS_UNPACK_BITS_INL_H_
#endif

#include <hwy/highway.h>

#include "engine/model/block_scales.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE float LoadHalf(const uint8_t* p) {
    const hn::CappedTag<float, 1> d;
    const hn::Rebind<hwy::float16_t, decltype(d)> dh;
    hwy::float16_t h;
    std::memcpy(&h, p, sizeof h);
    return hn::GetLane(hn::PromoteTo(d, hn::Load(dh, &h)));
}

/// Bits first, first + 1, … of 32, a lane each; `first` is a multiple of 16.
template <class D>
HWY_INLINE hn::Mask<D> BitsOf32(D d, uint32_t bits, size_t first) {
    alignas(32) static constexpr uint8_t kSpread[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    alignas(32) static constexpr uint8_t kBit[32] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                                     1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const hn::Repartition<uint32_t, D> d32;
    const auto spread = hn::TableLookupBytes(hn::BitCast(d, hn::Set(d32, bits)), hn::Load(d, kSpread + first));
    return hn::TestBit(spread, hn::Load(d, kBit));
}

/// Q1_0: a bit a value, -1 or 1.
HWY_INLINE void UnpackOneBit(const uint8_t* HWY_RESTRICT bits, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    for (int g = 0; g < 4; ++g)
        for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
            const auto set = BitsOf32(d, load_as<uint32_t>(bits + 4 * g), i);
            hn::Store(hn::IfThenElse(set, hn::Set(d, uint8_t{1}), hn::Set(d, uint8_t{255})), d, reinterpret_cast<uint8_t*>(out) + 32 * g + i);
        }
}

/// Q2_0: two bits a value, less 1, four neighbours a byte.
HWY_INLINE void UnpackNeighbours(const uint8_t* HWY_RESTRICT bytes, int8_t* HWY_RESTRICT out) {
    alignas(16) static constexpr uint8_t kSpread[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
    alignas(16) static constexpr uint8_t kOne[16] = {1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64};
    const hn::Full128<uint8_t> d;
    const hn::Full128<uint32_t> d32;
    const auto one = hn::Load(d, kOne), two = hn::Add(one, one);
    for (int i = 0; i < 64; i += 16, bytes += 4) {
        const auto spread = hn::TableLookupBytes(hn::BitCast(d, hn::Set(d32, load_as<uint32_t>(bytes))), hn::Load(d, kSpread));
        const auto low = hn::IfThenElseZero(hn::TestBit(spread, one), hn::Set(d, uint8_t{1}));
        const auto high = hn::IfThenElse(hn::TestBit(spread, two), hn::Set(d, uint8_t{1}), hn::Set(d, uint8_t{255}));
        hn::Store(hn::Add(low, high), d, reinterpret_cast<uint8_t*>(out) + i);
    }
}

/// NVFP4: eight low nibbles and the eight high ones of the same bytes, four times.
HWY_INLINE void UnpackFp4(const uint8_t* HWY_RESTRICT nibbles, int8_t* HWY_RESTRICT out) {
    const hn::Full128<uint8_t> d;
    const hn::Full128<int8_t> di;
    const hn::Full128<uint64_t> d64;
    const auto table = hn::LoadU(di, kFp4Values);
    for (int i = 0; i < 64; i += 32, nibbles += 16) {
        const auto bytes = hn::LoadU(d, nibbles);
        const auto low = hn::BitCast(d64, hn::And(bytes, hn::Set(d, uint8_t{15}))), high = hn::BitCast(d64, hn::ShiftRight<4>(bytes));
        hn::Store(hn::TableLookupBytes(table, hn::BitCast(di, hn::InterleaveLower(d64, low, high))), di, out + i);
        hn::Store(hn::TableLookupBytes(table, hn::BitCast(di, hn::InterleaveUpper(d64, low, high))), di, out + i + 16);
    }
}

/// TQ1_0: five values of -1, 0, 1 a byte as a fraction of 256 in base 3. Of n bytes the leading digits, then the next, ….
template <size_t kN, class D>
HWY_INLINE void UnpackDigits(D d, const uint8_t* HWY_RESTRICT bytes, int n_digits, uint8_t* HWY_RESTRICT out) {
    for (size_t i = 0; i < kN; i += hn::Lanes(d)) {
        auto rest = hn::LoadU(d, bytes + i);
        for (int k = 0; k < n_digits; ++k) {
            // The digit is the whole part of 3 rest / 256: 1 from 86, 2 from 171 on.
            const auto one = hn::VecFromMask(d, hn::Eq(hn::Max(rest, hn::Set(d, uint8_t{86})), rest));
            const auto two = hn::VecFromMask(d, hn::Eq(hn::Max(rest, hn::Set(d, uint8_t{171})), rest));
            hn::StoreU(hn::Sub(hn::Set(d, uint8_t{255}), hn::Add(one, two)), d, out + static_cast<size_t>(k) * kN + i);
            rest = hn::Add(rest, hn::Add(rest, rest));
        }
    }
}

HWY_INLINE void UnpackTernary(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    auto* bytes = reinterpret_cast<uint8_t*>(out);
    UnpackDigits<32>(hn::CappedTag<uint8_t, 32>(), block, 5, bytes);
    UnpackDigits<16>(hn::Full128<uint8_t>(), block + 32, 5, bytes + 160);
    UnpackDigits<4>(hn::CappedTag<uint8_t, 4>(), block + 48, 4, bytes + 240);
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
