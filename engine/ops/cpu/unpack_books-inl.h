// Unpacking of blocks of 256 values by code book (IQ1 to IQ3) for the current Highway target. Included by unpack-inl.h.
#if defined(GS_UNPACK_BOOKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GS_UNPACK_BOOKS_INL_H_
#undef GS_UNPACK_BOOKS_INL_H_
#else
#define GS_UNPACK_BOOKS_INL_H_
#endif

#include <hwy/highway.h>

#include "engine/model/block_scales.h"
#include "engine/model/tensor_type.h"
#include "engine/ops/cpu/code_books.h"
#include "engine/ops/cpu/unpack_bits-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gs::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The upper bits of the 16 indices i, i + 1, … that have eight bits elsewhere.
template <TensorType kType, class D>
HWY_INLINE hn::Vec<D> UpperBits(D d, const uint8_t* block, size_t i) {
    const auto one = hn::Set(d, uint8_t{1});
    if constexpr (kType == TensorType::kIQ3_S) {  // a bit field
        return hn::IfThenElseZero(BitsOf32(d, load_as<uint16_t>(block + 66 + i / 8), 0), one);
    } else if constexpr (kType == TensorType::kIQ2_S) {  // two bits each
        alignas(16) static constexpr uint8_t kSpread[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
        alignas(16) static constexpr uint8_t kOne[16] = {1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64, 1, 4, 16, 64};
        const hn::Repartition<uint32_t, D> d32;
        const auto four = hn::BitCast(d, hn::Set(d32, load_as<uint32_t>(block + 66 + i / 4)));
        const auto spread = hn::TableLookupBytes(four, hn::Load(d, kSpread)), low = hn::Load(d, kOne);
        return hn::Or(hn::IfThenElseZero(hn::TestBit(spread, low), one), hn::IfThenElseZero(hn::TestBit(spread, hn::Add(low, low)), hn::Add(one, one)));
    } else {  // IQ1_M: three bits of half a byte each
        const hn::Repartition<uint64_t, D> d64;
        const auto eight = hn::BitCast(d, hn::Set(d64, load_as<uint64_t>(block + 32 + i / 2)));
        return hn::And(hn::InterleaveLower(d, eight, hn::ShiftRight<4>(eight)), hn::Set(d, uint8_t{7}));
    }
}

/// Whether indices are joined before any is used: one by one that takes longer than all else.
template <TensorType kType>
constexpr bool kJoins = kType == TensorType::kIQ3_S || kType == TensorType::kIQ2_S || kType == TensorType::kIQ1_M;

template <TensorType kType>
HWY_INLINE void JoinIndices(const uint8_t* HWY_RESTRICT block, uint16_t* HWY_RESTRICT out) {
    const hn::Full128<uint8_t> d;
    const hn::Full128<uint16_t> d16;
    for (size_t i = 0; i < (kType == TensorType::kIQ3_S ? 64 : 32); i += 16) {
        const auto low = hn::LoadU(d, block + (kType == TensorType::kIQ1_M ? 0 : 2) + i), high = UpperBits<kType>(d, block, i);
        hn::Store(hn::BitCast(d16, hn::InterleaveLower(d, low, high)), d16, out + i);
        hn::Store(hn::BitCast(d16, hn::InterleaveUpper(d, low, high)), d16, out + i + 8);
    }
}

/// Entry e of the 32 (IQ1, IQ2) or 64 (IQ3) that a block refers to; `indices`: where kJoins.
template <TensorType kType>
HWY_INLINE size_t EntryOf(const uint8_t* block, const uint16_t* indices, int e) {
    if constexpr (kJoins<kType>) return indices[e];
    else if constexpr (kType == TensorType::kIQ2_XXS) return block[2 + e / 4 * 8 + e % 4];
    else if constexpr (kType == TensorType::kIQ2_XS) return load_as<uint16_t>(block + 2 + 2 * e) & 511u;
    else if constexpr (kType == TensorType::kIQ3_XXS) return block[2 + e];
    else return static_cast<size_t>(block[2 + e] | (load_as<uint16_t>(block + 34 + e / 4 * 2) << 8 >> e % 4 * 3 & 0x700));  // IQ1_S
}

/// Values 8 e to 8 e + 7, without the signs of IQ2 and IQ3 and the shift of IQ1; those of IQ1 are eight times as large.
template <TensorType kType>
HWY_INLINE uint64_t EightValues(const uint8_t* block, const uint16_t* indices, int e) {
    const auto& book = code_book<kType>().bytes;
    if constexpr (sizeof(book[0]) == 4)
        return book[EntryOf<kType>(block, indices, 2 * e)] | static_cast<uint64_t>(book[EntryOf<kType>(block, indices, 2 * e + 1)]) << 32;
    else return book[EntryOf<kType>(block, indices, e)];
}

/// IQ1: what is added to values first, first + 1, … of the 32 of group g: 1, or where a bit is set -1.
template <TensorType kType, class D>
HWY_INLINE hn::Vec<D> Shifts(D d, const uint8_t* block, int g, size_t first) {
    if constexpr (kType == TensorType::kIQ1_S) return hn::Set(d, static_cast<int8_t>((block[35 + 2 * g] & 0x80) != 0 ? -1 : 1));
    alignas(32) static constexpr uint8_t kSpread[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    alignas(32) static constexpr uint8_t kBit[32] = {8, 8, 8, 8, 8, 8, 8, 8, 128, 128, 128, 128, 128, 128, 128, 128,
                                                     8, 8, 8, 8, 8, 8, 8, 8, 128, 128, 128, 128, 128, 128, 128, 128};
    const hn::RebindToUnsigned<D> du;
    const hn::Repartition<uint16_t, D> d16;
    const auto halves = hn::BitCast(du, hn::Set(d16, load_as<uint16_t>(block + 32 + 2 * g)));
    const auto down = hn::TestBit(hn::TableLookupBytes(halves, hn::Load(du, kSpread + first)), hn::Load(du, kBit + first));
    return hn::IfThenElse(hn::RebindMask(d, down), hn::Set(d, int8_t{-1}), hn::Set(d, int8_t{1}));
}

/// Bytes of seven bits to eight, of which an even number is set.
template <class D>
HWY_INLINE hn::Vec<D> Even(D d, hn::Vec<D> seven) {
    alignas(16) static constexpr uint8_t kOdd[16] = {0, 128, 128, 0, 128, 0, 0, 128, 128, 0, 0, 128, 0, 128, 128, 0};
    const auto odd = hn::LoadDup128(d, kOdd);
    const auto low = hn::TableLookupBytes(odd, hn::And(seven, hn::Set(d, uint8_t{15}))), high = hn::TableLookupBytes(odd, hn::ShiftRight<4>(seven));
    return hn::Xor(seven, hn::Xor(low, high));
}

/// The signs of 32 values are four bytes, these many apart.
template <TensorType kType>
constexpr int kSignsStep = kType == TensorType::kIQ2_XXS ? 8 : 4;

/// Where the signs are, for those that a block holds seven bits of in a buffer of 64 bytes, aligned to 32.
template <TensorType kType>
HWY_INLINE const uint8_t* SignsOf(const uint8_t* block, uint8_t* buffer) {
    const hn::CappedTag<uint8_t, 32> d;
    if constexpr (kType == TensorType::kIQ2_S) {
        return block + 34;
    } else if constexpr (kType == TensorType::kIQ3_S) {
        return block + 74;
    } else if constexpr (kType == TensorType::kIQ2_XS) {  // the upper seven bits of 32 words
        const hn::Repartition<uint16_t, decltype(d)> d16;
        const hn::Repartition<int16_t, decltype(d)> di16;
        const hn::Rebind<uint8_t, decltype(d16)> d8;
        const auto half = [&](const uint8_t* p) { return hn::DemoteTo(d8, hn::BitCast(di16, hn::ShiftRight<9>(hn::BitCast(d16, hn::LoadU(d, p))))); };
        for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
            const uint8_t* words = block + 2 + 2 * i;
            hn::Store(Even(d, hn::Combine(d, half(words + hn::Lanes(d)), half(words))), d, buffer + i);
        }
        return buffer;
    } else {  // 28 bits of every second word, behind those of indices, or of all
        constexpr bool kSecond = kType == TensorType::kIQ2_XXS;
        const hn::Repartition<uint32_t, decltype(d)> d32;
        for (size_t i = 0; i < (kSecond ? 64 : 32); i += hn::Lanes(d)) {
            const auto words = hn::BitCast(d32, hn::LoadU(d, block + (kSecond ? 2 : 66) + i));
            const auto lower = hn::Or(hn::And(words, hn::Set(d32, 0x7fu)), hn::And(hn::ShiftLeft<1>(words), hn::Set(d32, 0x7f00u)));
            const auto upper = hn::Or(hn::And(hn::ShiftLeft<2>(words), hn::Set(d32, 0x7f0000u)), hn::And(hn::ShiftLeft<3>(words), hn::Set(d32, 0x7f000000u)));
            hn::Store(Even(d, hn::BitCast(d, hn::Or(lower, upper))), d, buffer + i);
        }
        return kSecond ? buffer + 4 : buffer;
    }
}

template <TensorType kType>
HWY_INLINE void UnpackByCodeBook(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    const hn::CappedTag<int8_t, 32> di;
    const hn::CappedTag<uint64_t, 1> d1;
    const hn::CappedTag<uint64_t, 2> d2;
    const hn::Repartition<uint64_t, decltype(d)> dv;
    alignas(32) uint16_t indices[64];
    if constexpr (kJoins<kType>) JoinIndices<kType>(block, indices);
    const auto sixteen = [&](int e) {
        const uint64_t low = EightValues<kType>(block, indices, e), high = EightValues<kType>(block, indices, e + 1);
        return hn::Combine(d2, hn::Load(d1, &high), hn::Load(d1, &low));
    };
    constexpr bool kSigned = kType != TensorType::kIQ1_S && kType != TensorType::kIQ1_M;
    alignas(32) uint8_t buffer[64];
    const uint8_t* signs = nullptr;
    if constexpr (kSigned) signs = SignsOf<kType>(block, buffer);
    for (int g = 0; g < 8; ++g)
        for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
            const int e = 4 * g + static_cast<int>(i) / 8;
            hn::Vec<decltype(dv)> eights;
            if constexpr (hn::MaxLanes(d) == 32) eights = hn::Combine(dv, sixteen(e + 2), sixteen(e));
            else eights = sixteen(e);
            auto values = hn::BitCast(di, eights);
            if constexpr (kSigned) {
                const auto negative = hn::RebindMask(di, BitsOf32(d, load_as<uint32_t>(signs + kSignsStep<kType> * g), i));
                values = hn::IfThenElse(negative, hn::Neg(values), values);
            } else {
                values = hn::Add(values, Shifts<kType>(di, block, g, i));
            }
            hn::Store(values, di, out + 32 * g + i);
        }
}

template <TensorType kType>
HWY_INLINE void ReadCodeBookScales(const uint8_t* HWY_RESTRICT block, float* HWY_RESTRICT scale) {
    const auto four = [](const uint8_t* p, int s) { return static_cast<float>(p[s / 2] >> s % 2 * 4 & 15); };
    if constexpr (kType == TensorType::kIQ1_M) {
        const auto words = load_as<uint64_t>(block + 48);
        const float d = half_to_float(iq1_m_half(words)) * 0.125f;
        for (int s = 0; s < 16; ++s) scale[s] = d * static_cast<float>(2 * iq1_m_scale(words, s) + 1);
        return;
    }
    const float d = LoadHalf(block);
    if constexpr (kType == TensorType::kIQ2_XXS)
        for (int g = 0; g < 8; ++g) scale[g] = d * (0.5f + static_cast<float>(block[9 + 8 * g] >> 4)) * 0.25f;
    else if constexpr (kType == TensorType::kIQ3_XXS)
        for (int g = 0; g < 8; ++g) scale[g] = d * (0.5f + static_cast<float>(block[69 + 4 * g] >> 4)) * 0.5f;
    else if constexpr (kType == TensorType::kIQ2_XS || kType == TensorType::kIQ2_S)
        for (int s = 0; s < 16; ++s) scale[s] = d * (0.5f + four(block + (kType == TensorType::kIQ2_XS ? 66 : 74), s)) * 0.25f;
    else if constexpr (kType == TensorType::kIQ3_S)
        for (int g = 0; g < 8; ++g) scale[g] = d * (1 + 2 * four(block + 106, g));
    else
        for (int g = 0; g < 8; ++g) scale[g] = d * 0.125f * static_cast<float>(2 * (block[35 + 2 * g] >> 4 & 7) + 1);
}

}  // namespace gs::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
