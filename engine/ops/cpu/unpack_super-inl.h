// Unpacking of blocks of more than 32 values (spec/gguf.md section 4.3) but those by code book, for the current Highway target. Included by
// unpack-inl.h.
#if defined(GS_UNPACK_SUPER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_UNPACK_SUPER_INL_H_
#undef GS_UNPACK_SUPER_INL_H_
#else
#define GS_UNPACK_SUPER_INL_H_
#endif

#include <hwy/highway.h>

#include "engine/model/block_scales.h"
#include "engine/model/tensor_type.h"
#include "engine/ops/cpu/unpack_bits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The bytes with a field of bits that begins at kFrom moved to kTo; the rest must be masked off, also what comes from a neighbour byte.
template <int kFrom, int kTo, class D>
HWY_INLINE hn::Vec<D> MoveBits(D d, hn::Vec<D> bytes) {
    const hn::Repartition<uint16_t, D> d16;
    if constexpr (kFrom > kTo) return hn::BitCast(d, hn::ShiftRight<kFrom - kTo>(hn::BitCast(d16, bytes)));
    else if constexpr (kFrom < kTo) return hn::BitCast(d, hn::ShiftLeft<kTo - kFrom>(hn::BitCast(d16, bytes)));
    else return bytes;
}

template <int kFrom, int kTo, int kMask, class D>
HWY_INLINE hn::Vec<D> Field(D d, const uint8_t* bytes) {
    return hn::And(MoveBits<kFrom, kTo>(d, hn::LoadU(d, bytes)), hn::Set(d, uint8_t{kMask}));
}

/// 16 bytes and the same four bits to the right, side by side or, where vectors are short, the one that kFirst names.
template <int kFirst, class D>
HWY_INLINE hn::Vec<D> LowThenHigh(D d, const uint8_t* bytes) {
    const hn::Full128<uint8_t> d16;
    const auto low = hn::LoadU(d16, bytes);
    if constexpr (hn::MaxLanes(d) == 32) return hn::Combine(d, MoveBits<4, 0>(d16, low), low);
    else return MoveBits<kFirst / 4, 0>(d16, low);
}

/// Types whose values come out of their bytes by shifts: those of Values32.
template <TensorType kType>
constexpr bool kHasValues32 = kType == TensorType::kQ2_K || kType == TensorType::kQ3_K || kType == TensorType::kQ4_K || kType == TensorType::kQ5_K ||
                              kType == TensorType::kQ6_K || kType == TensorType::kTQ2_0 || kType == TensorType::kIQ4_XS;

/// Values 32 kGroup + kFirst and on of a block, a vector of at most 32; kFirst is 0, or 16 where vectors are short. Values 32 apart share bytes.
template <TensorType kType, int kGroup, int kFirst>
HWY_INLINE hn::Vec<hn::CappedTag<int8_t, 32>> Values32(const uint8_t* HWY_RESTRICT block) {
    const hn::CappedTag<uint8_t, 32> d;
    const hn::CappedTag<int8_t, 32> di;
    constexpr int kPair = kGroup % 4 * 2;  // place of two bits
    const auto less = [&](hn::Vec<decltype(d)> v, uint8_t centre) HWY_ATTR { return hn::BitCast(di, hn::Sub(v, hn::Set(d, centre))); };
    if constexpr (kType == TensorType::kQ2_K) {
        return hn::BitCast(di, Field<kPair, 0, 3>(d, block + 16 + kGroup / 4 * 32 + kFirst));
    } else if constexpr (kType == TensorType::kQ3_K) {
        return less(hn::Or(Field<kPair, 0, 3>(d, block + 32 + kGroup / 4 * 32 + kFirst), Field<kGroup, 2, 4>(d, block + kFirst)), 4);
    } else if constexpr (kType == TensorType::kQ4_K) {
        return hn::BitCast(di, Field<kGroup % 2 * 4, 0, 15>(d, block + 16 + kGroup / 2 * 32 + kFirst));
    } else if constexpr (kType == TensorType::kQ5_K) {
        const auto low = Field<kGroup % 2 * 4, 0, 15>(d, block + 48 + kGroup / 2 * 32 + kFirst);
        return hn::BitCast(di, hn::Or(low, Field<kGroup, 4, 16>(d, block + 16 + kFirst)));
    } else if constexpr (kType == TensorType::kQ6_K) {
        const auto low = Field<kGroup % 4 / 2 * 4, 0, 15>(d, block + kGroup / 4 * 64 + kGroup % 2 * 32 + kFirst);
        return less(hn::Or(low, Field<kPair, 4, 0x30>(d, block + 128 + kGroup / 4 * 32 + kFirst)), 32);
    } else if constexpr (kType == TensorType::kTQ2_0) {
        return less(Field<kPair, 0, 3>(d, block + kGroup / 4 * 32 + kFirst), 1);
    } else {  // IQ4_XS: low nibbles, then high ones
        const auto nibbles = hn::And(LowThenHigh<kFirst>(d, block + 8 + 16 * kGroup), hn::Set(d, uint8_t{15}));
        return hn::TableLookupBytes(hn::LoadDup128(di, kIq4Values), hn::BitCast(di, nibbles));
    }
}

template <TensorType kType, int kGroup = 0>
HWY_INLINE void UnpackValues32(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<int8_t, 32> d;
    hn::StoreU(Values32<kType, kGroup, 0>(block), d, out + 32 * kGroup);
    if constexpr (hn::MaxLanes(d) < 32) hn::StoreU(Values32<kType, kGroup, 16>(block), d, out + 32 * kGroup + 16);
    if constexpr (kGroup < 7) UnpackValues32<kType, kGroup + 1>(block, out);
}

template <TensorType kType>
HWY_INLINE void UnpackSuper(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    if constexpr (kHasValues32<kType>) UnpackValues32<kType>(block, out);
    else if constexpr (kType == TensorType::kTQ1_0) UnpackTernary(block, out);
    else if constexpr (kType == TensorType::kQ1_0) UnpackOneBit(block + 2, out);
    else if constexpr (kType == TensorType::kQ2_0) UnpackNeighbours(block + 2, out);
    else UnpackFp4(block + 4, out);
}

/// The eight scales and eight minima of six bits in twelve bytes (block_scales.h says the same in plain words), to 16 bytes.
HWY_INLINE void UnpackScalesAndMinima(const uint8_t* HWY_RESTRICT packed, uint8_t* HWY_RESTRICT out) {
    const hn::Full128<uint8_t> d;
    // Four words: scales 0-3 and 4-7, minima 0-3 and 4-7. 255: nothing.
    alignas(16) static constexpr uint8_t kLow[16] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 255, 255, 255, 255};
    alignas(16) static constexpr uint8_t kLast[16] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 8, 9, 10, 11};
    alignas(16) static constexpr uint8_t kHigh[16] = {255, 255, 255, 255, 0, 1, 2, 3, 255, 255, 255, 255, 4, 5, 6, 7};
    alignas(16) static constexpr uint8_t kMask[16] = {63, 63, 63, 63, 15, 15, 15, 15, 63, 63, 63, 63, 15, 15, 15, 15};
    const auto in = hn::LoadU(d, packed);  // the last four bytes are values
    const auto low = hn::Or(hn::TableLookupBytesOr0(in, hn::Load(d, kLow)), hn::TableLookupBytesOr0(MoveBits<4, 0>(d, in), hn::Load(d, kLast)));
    const auto high = hn::And(hn::TableLookupBytesOr0(MoveBits<6, 4>(d, in), hn::Load(d, kHigh)), hn::Set(d, uint8_t{0x30}));
    hn::Store(hn::Or(hn::And(low, hn::Load(d, kMask)), high), d, out);
}

/// out[i] = factor * (field - kLess), the field being the bits of bytes[i] from kFrom on, or the whole byte where kMask is 0.
template <int kN, int kFrom, int kMask, int kLess, class T>
HWY_INLINE void ScaleBytes(float factor, const T* HWY_RESTRICT bytes, float* HWY_RESTRICT out) {
    const hn::CappedTag<float, 8> d;
    const hn::RebindToSigned<decltype(d)> di;
    const hn::Rebind<T, decltype(d)> d8;
    for (size_t i = 0; i < kN; i += hn::Lanes(d)) {
        auto v = hn::PromoteTo(di, hn::LoadU(d8, bytes + i));
        if constexpr (kMask != 0) v = hn::And(hn::ShiftRight<kFrom>(v), hn::Set(di, kMask));
        if constexpr (kLess != 0) v = hn::Sub(v, hn::Set(di, kLess));
        hn::StoreU(hn::Mul(hn::Set(d, factor), hn::ConvertTo(d, v)), d, out + i);
    }
}

template <TensorType kType>
HWY_INLINE void ReadSuperScales(const uint8_t* HWY_RESTRICT block, float* HWY_RESTRICT scale, float* HWY_RESTRICT min) {
    if constexpr (kType == TensorType::kQ2_K) {
        const float d = LoadHalf(block + 80), dmin = LoadHalf(block + 82);
        ScaleBytes<16, 0, 15, 0>(d, block, scale);
        ScaleBytes<16, 4, 15, 0>(-dmin, block, min);
    } else if constexpr (kType == TensorType::kQ4_K || kType == TensorType::kQ5_K) {
        const float d = LoadHalf(block), dmin = LoadHalf(block + 2);
        alignas(16) uint8_t six_bits[16];
        UnpackScalesAndMinima(block + 4, six_bits);
        ScaleBytes<8, 0, 0, 0>(d, six_bits, scale);
        ScaleBytes<8, 0, 0, 0>(-dmin, six_bits + 8, min);
    } else if constexpr (kType == TensorType::kQ3_K) {
        const float d = LoadHalf(block + 108);
        alignas(16) uint8_t six_bits[16];
        unpack_six_bit_scales(block + 96, six_bits);
        ScaleBytes<16, 0, 0, 32>(d, six_bits, scale);
    } else if constexpr (kType == TensorType::kQ6_K) {
        const float d = LoadHalf(block + 208);
        ScaleBytes<16, 0, 0, 0>(d, reinterpret_cast<const int8_t*>(block + 192), scale);
    } else if constexpr (kType == TensorType::kIQ4_XS) {
        const float d = LoadHalf(block);
        alignas(8) uint8_t six_bits[8];
        unpack_eight_scales(load_as<uint16_t>(block + 2), load_as<uint32_t>(block + 4), six_bits);
        ScaleBytes<8, 0, 0, 32>(d, six_bits, scale);
    } else if constexpr (kType == TensorType::kNVFP4) {
        for (int s = 0; s < 4; ++s) scale[s] = e4m3_half(block[s]);
    } else {  // one for all
        constexpr int kAt = kType == TensorType::kTQ1_0 ? 52 : kType == TensorType::kTQ2_0 ? 64 : 0;
        constexpr int kRuns = kType == TensorType::kQ1_0 ? 4 : kType == TensorType::kQ2_0 ? 2 : 8;
        const float d = LoadHalf(block + kAt);
        for (int g = 0; g < kRuns; ++g) scale[g] = d;
    }
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
