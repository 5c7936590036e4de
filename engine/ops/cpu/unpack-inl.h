// Unpacking of quantized blocks (spec/gguf.md section 4) for the current Highway target: integers as int8, scales and minima as f32.
// Included once a target by files that use foreach_target.h.
#if defined(GS_UNPACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_UNPACK_INL_H_
#undef GS_UNPACK_INL_H_
#else
#define GS_UNPACK_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "engine/model/weights.h"
#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/type_list.h"
#include "engine/ops/cpu/unpack_bits-inl.h"
#include "engine/ops/cpu/unpack_books-inl.h"
#include "engine/ops/cpu/unpack_super-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Bytes and values of a block, values that share a scale, whether there is a minimum; of the small ones also a fifth bit's and the nibbles' place
/// and what is subtracted from a nibble.
template <TensorType kType>
struct BlockTraits;
template <int kBytesOf, int kMinOf, int kFifthAt, int kNibblesAt, int kCentreOf>
struct SmallBlock {
    static constexpr int kBytes = kBytesOf, kValues = 32, kRun = 32, kMin = kMinOf, kFifth = kFifthAt, kNibbles = kNibblesAt, kCentre = kCentreOf;
};
template <int kBytesOf, int kRunOf, int kMinOf, int kValuesOf = 256>
struct SuperBlock {
    static constexpr int kBytes = kBytesOf, kValues = kValuesOf, kRun = kRunOf, kMin = kMinOf;
};
template <> struct BlockTraits<TensorType::kQ4_0> : SmallBlock<18, 0, 0, 2, 8> {};
template <> struct BlockTraits<TensorType::kQ4_1> : SmallBlock<20, 1, 0, 4, 0> {};
template <> struct BlockTraits<TensorType::kQ5_0> : SmallBlock<22, 0, 2, 6, 16> {};
template <> struct BlockTraits<TensorType::kQ5_1> : SmallBlock<24, 1, 4, 8, 0> {};
template <> struct BlockTraits<TensorType::kQ8_0> : SmallBlock<34, 0, 0, 2, 0> {};
template <> struct BlockTraits<TensorType::kIQ4_NL> : SmallBlock<18, 0, 0, 2, 0> {};
template <> struct BlockTraits<TensorType::kMXFP4> : SmallBlock<17, 0, 0, 1, 0> {};
template <> struct BlockTraits<TensorType::kQ2_K> : SuperBlock<84, 16, 1> {};
template <> struct BlockTraits<TensorType::kQ3_K> : SuperBlock<110, 16, 0> {};
template <> struct BlockTraits<TensorType::kQ4_K> : SuperBlock<144, 32, 1> {};
template <> struct BlockTraits<TensorType::kQ5_K> : SuperBlock<176, 32, 1> {};
template <> struct BlockTraits<TensorType::kQ6_K> : SuperBlock<210, 16, 0> {};
template <> struct BlockTraits<TensorType::kIQ4_XS> : SuperBlock<136, 32, 0> {};
template <> struct BlockTraits<TensorType::kIQ1_S> : SuperBlock<50, 32, 0> {};
template <> struct BlockTraits<TensorType::kIQ1_M> : SuperBlock<56, 16, 0> {};
template <> struct BlockTraits<TensorType::kIQ2_XXS> : SuperBlock<66, 32, 0> {};
template <> struct BlockTraits<TensorType::kIQ2_XS> : SuperBlock<74, 16, 0> {};
template <> struct BlockTraits<TensorType::kIQ2_S> : SuperBlock<82, 16, 0> {};
template <> struct BlockTraits<TensorType::kIQ3_XXS> : SuperBlock<98, 32, 0> {};
template <> struct BlockTraits<TensorType::kIQ3_S> : SuperBlock<110, 32, 0> {};
// One scale a block, read for every 32 values; NVFP4 has four.
template <> struct BlockTraits<TensorType::kTQ1_0> : SuperBlock<54, 32, 0> {};
template <> struct BlockTraits<TensorType::kTQ2_0> : SuperBlock<66, 32, 0> {};
template <> struct BlockTraits<TensorType::kQ1_0> : SuperBlock<18, 32, 0, 128> {};
template <> struct BlockTraits<TensorType::kQ2_0> : SuperBlock<18, 32, 0, 64> {};
template <> struct BlockTraits<TensorType::kNVFP4> : SuperBlock<36, 16, 0, 64> {};

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

/// The 32 integers of a small block, 16 and 16.
template <TensorType kType>
HWY_INLINE void SmallValues(const uint8_t* HWY_RESTRICT block, hn::Vec<hn::Full128<int8_t>>& first, hn::Vec<hn::Full128<int8_t>>& second) {
    using T = BlockTraits<kType>;
    const hn::Full128<uint8_t> d;
    const hn::Full128<int8_t> di;
    if constexpr (kType == TensorType::kQ8_0) {
        first = hn::BitCast(di, hn::LoadU(d, block + T::kNibbles));
        second = hn::BitCast(di, hn::LoadU(d, block + T::kNibbles + 16));
    } else {
        const auto bytes = hn::LoadU(d, block + T::kNibbles), mask = hn::Set(d, uint8_t{15});
        auto low = hn::And(bytes, mask), high = hn::And(MoveBits<4, 0>(d, bytes), mask);
        if constexpr (kType == TensorType::kIQ4_NL || kType == TensorType::kMXFP4) {
            const auto table = hn::BitCast(d, hn::LoadU(di, kType == TensorType::kIQ4_NL ? kIq4Values : kFp4Values));
            low = hn::TableLookupBytes(table, low);
            high = hn::TableLookupBytes(table, high);
        }
        if constexpr (T::kFifth != 0) {
            low = hn::Or(low, FifthBits(d, block + T::kFifth));
            high = hn::Or(high, FifthBits(d, block + T::kFifth + 2));
        }
        if constexpr (T::kCentre != 0) {
            low = hn::Sub(low, hn::Set(d, uint8_t{T::kCentre}));
            high = hn::Sub(high, hn::Set(d, uint8_t{T::kCentre}));
        }
        first = hn::BitCast(di, low);
        second = hn::BitCast(di, high);
    }
}

template <TensorType kType>
HWY_INLINE void UnpackSmall(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    const hn::Full128<int8_t> d;
    hn::Vec<decltype(d)> first, second;
    SmallValues<kType>(block, first, second);
    hn::Store(first, d, out);
    hn::Store(second, d, out + 16);
}

/// The scales of a block and, where it has them, what is added: value = scale q + min, for each kRun values.
template <TensorType kType>
HWY_INLINE void ReadScales(const uint8_t* HWY_RESTRICT block, float* HWY_RESTRICT scale, float* HWY_RESTRICT min) {
    using T = BlockTraits<kType>;
    if constexpr (is_by_code_book(kType)) return ReadCodeBookScales<kType>(block, scale);
    else if constexpr (T::kValues > kBlock) return ReadSuperScales<kType>(block, scale, min);
    else if constexpr (kType == TensorType::kMXFP4) scale[0] = e8m0_half(block[0]);
    else scale[0] = LoadHalf(block);
    if constexpr (T::kMin != 0) min[0] = LoadHalf(block + 2);
}

/// The integers of a block, to memory aligned to 32.
template <TensorType kType>
HWY_INLINE void UnpackBlock(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    if constexpr (is_by_code_book(kType)) UnpackByCodeBook<kType>(block, out);
    else if constexpr (BlockTraits<kType>::kValues > kBlock) UnpackSuper<kType>(block, out);
    else UnpackSmall<kType>(block, out);
}

/// Values that share a scale.
inline int RunOf(TensorType type) {
    int run = 0;
    for_quantized(type, [&]<TensorType kType>() { run = BlockTraits<kType>::kRun; });
    return run;
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
