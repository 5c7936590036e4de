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

inline float HalfAt(const uint8_t* p) { return half_to_float(load_as<uint16_t>(p)); }

/// The values of Q2_K and TQ2_0 (less kCentre) or the lower bits of Q3_K: 32 bytes hold 128 values, those 32 apart in one byte. Q3_K: a third bit,
/// one byte for eight values.
template <bool kThird, int kCentre>
HWY_INLINE void UnpackTwoBits(const uint8_t* HWY_RESTRICT qs, const uint8_t* HWY_RESTRICT third, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    for (size_t i = 0; i < 32; i += hn::Lanes(d))
        for (int v = 0; v < 8; ++v) {
            auto q = hn::And(hn::ShiftRightSame(hn::LoadU(d, qs + v / 4 * 32 + i), v % 4 * 2), hn::Set(d, uint8_t{3}));
            if constexpr (kThird) {
                const auto bit = hn::TestBit(hn::LoadU(d, third + i), hn::Set(d, static_cast<uint8_t>(1 << v)));
                q = hn::Add(q, hn::IfThenElseZero(bit, hn::Set(d, uint8_t{4})));
            }
            if constexpr (kCentre != 0) q = hn::Sub(q, hn::Set(d, uint8_t{kCentre}));
            hn::StoreU(q, d, reinterpret_cast<uint8_t*>(out) + 32 * v + i);
        }
}

/// The values of Q4_K or the lower bits of Q5_K: 32 bytes hold 64 values, those 32 apart in one byte. Q5_K: a fifth bit, one byte for eight values.
template <bool kFifth>
HWY_INLINE void UnpackFourBits(const uint8_t* HWY_RESTRICT qs, const uint8_t* HWY_RESTRICT fifth, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    for (size_t i = 0; i < 32; i += hn::Lanes(d))
        for (int v = 0; v < 8; ++v) {
            auto q = hn::And(hn::ShiftRightSame(hn::LoadU(d, qs + v / 2 * 32 + i), v % 2 * 4), hn::Set(d, uint8_t{15}));
            if constexpr (kFifth) {
                const auto bit = hn::TestBit(hn::LoadU(d, fifth + i), hn::Set(d, static_cast<uint8_t>(1 << v)));
                q = hn::Or(q, hn::IfThenElseZero(bit, hn::Set(d, uint8_t{16})));
            }
            hn::StoreU(q, d, reinterpret_cast<uint8_t*>(out) + 32 * v + i);
        }
}

HWY_INLINE void UnpackSixBits(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    for (size_t i = 0; i < 32; i += hn::Lanes(d))
        for (int v = 0; v < 8; ++v) {  // 32 values: quarter v % 4 of a half
            const auto low = hn::LoadU(d, block + v / 4 * 64 + v % 2 * 32 + i), high = hn::LoadU(d, block + 128 + v / 4 * 32 + i);
            const auto nibble = hn::And(hn::ShiftRightSame(low, v % 4 / 2 * 4), hn::Set(d, uint8_t{15}));
            const auto upper = hn::And(hn::ShiftRightSame(high, v % 4 * 2), hn::Set(d, uint8_t{3}));
            const auto q = hn::Sub(hn::Or(nibble, hn::ShiftLeft<4>(upper)), hn::Set(d, uint8_t{32}));
            hn::StoreU(q, d, reinterpret_cast<uint8_t*>(out) + 32 * v + i);
        }
}

HWY_INLINE void UnpackTableNibbles(const uint8_t* HWY_RESTRICT qs, int8_t* HWY_RESTRICT out) {
    const hn::Full128<uint8_t> d;
    const hn::Full128<int8_t> di;
    const auto table = hn::LoadU(di, kIq4Values);
    for (int g = 0; g < 8; ++g, qs += 16, out += 32) {
        const auto bytes = hn::LoadU(d, qs);
        hn::StoreU(hn::TableLookupBytes(table, hn::BitCast(di, hn::And(bytes, hn::Set(d, uint8_t{15})))), di, out);
        hn::StoreU(hn::TableLookupBytes(table, hn::BitCast(di, hn::ShiftRight<4>(bytes))), di, out + 16);
    }
}

template <TensorType kType>
HWY_INLINE void UnpackSuper(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    if constexpr (kType == TensorType::kQ2_K) UnpackTwoBits<false, 0>(block + 16, nullptr, out);
    else if constexpr (kType == TensorType::kQ3_K) UnpackTwoBits<true, 4>(block + 32, block, out);
    else if constexpr (kType == TensorType::kQ4_K) UnpackFourBits<false>(block + 16, nullptr, out);
    else if constexpr (kType == TensorType::kQ5_K) UnpackFourBits<true>(block + 48, block + 16, out);
    else if constexpr (kType == TensorType::kQ6_K) UnpackSixBits(block, out);
    else if constexpr (kType == TensorType::kTQ1_0) UnpackTernary(block, out);
    else if constexpr (kType == TensorType::kTQ2_0) UnpackTwoBits<false, 1>(block, nullptr, out);
    else if constexpr (kType == TensorType::kQ1_0) UnpackOneBit(block + 2, out);
    else if constexpr (kType == TensorType::kQ2_0) UnpackNeighbours(block + 2, out);
    else if constexpr (kType == TensorType::kNVFP4) UnpackFp4(block + 4, out);
    else UnpackTableNibbles(block + 8, out);
}

template <TensorType kType>
HWY_INLINE void ReadSuperScales(const uint8_t* HWY_RESTRICT block, float* HWY_RESTRICT scale, float* HWY_RESTRICT min) {
    if constexpr (kType == TensorType::kQ2_K) {
        const float d = HalfAt(block + 80), dmin = HalfAt(block + 82);
        for (int s = 0; s < 16; ++s) {
            scale[s] = d * static_cast<float>(block[s] & 15);
            min[s] = -(dmin * static_cast<float>(block[s] >> 4));
        }
    } else if constexpr (kType == TensorType::kQ4_K || kType == TensorType::kQ5_K) {
        const float d = HalfAt(block), dmin = HalfAt(block + 2);
        uint8_t six_bits[16];
        unpack_scales_and_minima(block + 4, six_bits);
        for (int s = 0; s < 8; ++s) {
            scale[s] = d * static_cast<float>(six_bits[s]);
            min[s] = -(dmin * static_cast<float>(six_bits[8 + s]));
        }
    } else if constexpr (kType == TensorType::kQ3_K) {
        const float d = HalfAt(block + 108);
        uint8_t six_bits[16];
        unpack_six_bit_scales(block + 96, six_bits);
        for (int s = 0; s < 16; ++s) scale[s] = d * static_cast<float>(six_bits[s] - 32);
    } else if constexpr (kType == TensorType::kQ6_K) {
        const float d = HalfAt(block + 208);
        for (int s = 0; s < 16; ++s) scale[s] = d * static_cast<float>(static_cast<int8_t>(block[192 + s]));
    } else if constexpr (kType == TensorType::kIQ4_XS) {
        const float d = HalfAt(block);
        const auto high = load_as<uint16_t>(block + 2);
        const auto low = load_as<uint32_t>(block + 4);
        for (int g = 0; g < 8; ++g) scale[g] = d * static_cast<float>(iq4_xs_scale(high, low, g));
    } else if constexpr (kType == TensorType::kNVFP4) {
        for (int s = 0; s < 4; ++s) scale[s] = e4m3_half(block[s]);
    } else {  // one for all
        constexpr int kAt = kType == TensorType::kTQ1_0 ? 52 : kType == TensorType::kTQ2_0 ? 64 : 0;
        constexpr int kRuns = kType == TensorType::kQ1_0 ? 4 : kType == TensorType::kQ2_0 ? 2 : 8;
        const float d = HalfAt(block + kAt);
        for (int g = 0; g < kRuns; ++g) scale[g] = d;
    }
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
