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

/// Entry e of the 32 (IQ1, IQ2) or 64 (IQ3) that a block refers to.
template <TensorType kType>
HWY_INLINE size_t EntryOf(const uint8_t* block, int e) {
    if constexpr (kType == TensorType::kIQ2_XXS) return block[2 + e / 4 * 8 + e % 4];
    else if constexpr (kType == TensorType::kIQ2_XS) return load_as<uint16_t>(block + 2 + 2 * e) & 511u;
    else if constexpr (kType == TensorType::kIQ2_S) return static_cast<size_t>(block[2 + e] | (block[66 + e / 4] >> e % 4 * 2 & 3) << 8);
    else if constexpr (kType == TensorType::kIQ3_XXS) return block[2 + e];
    else if constexpr (kType == TensorType::kIQ3_S) return static_cast<size_t>(block[2 + e] | (block[66 + e / 8] >> e % 8 & 1) << 8);
    else if constexpr (kType == TensorType::kIQ1_S)
        return static_cast<size_t>(block[2 + e] | (load_as<uint16_t>(block + 34 + e / 4 * 2) >> e % 4 * 3 & 7) << 8);
    else return static_cast<size_t>(block[e] | (block[32 + e / 2] >> e % 2 * 4 & 7) << 8);
}

/// IQ1: whether the values of entry e are shifted down.
template <TensorType kType>
HWY_INLINE bool ShiftsDown(const uint8_t* block, int e) {
    if constexpr (kType == TensorType::kIQ1_S) return (block[35 + e / 4 * 2] & 0x80) != 0;
    else return (block[32 + e / 2] >> e % 2 * 4 & 8) != 0;
}

/// Values 8 e to 8 e + 7, without the signs of IQ2 and IQ3; those of IQ1 are eight times as large.
template <TensorType kType>
HWY_INLINE uint64_t EightValues(const uint8_t* block, int e) {
    const auto& book = code_book<kType>().bytes;
    constexpr uint64_t kOnes = 0x0101010101010101;
    if constexpr (sizeof(book[0]) == 4)
        return book[EntryOf<kType>(block, 2 * e)] | static_cast<uint64_t>(book[EntryOf<kType>(block, 2 * e + 1)]) << 32;
    else if constexpr (kType == TensorType::kIQ1_S || kType == TensorType::kIQ1_M)
        return (book[EntryOf<kType>(block, e)] + (ShiftsDown<kType>(block, e) ? 0 - kOnes : kOnes)) ^ kOnes << 7;
    else return book[EntryOf<kType>(block, e)];
}

/// Bit i: value 32 g + i is negative.
template <TensorType kType>
HWY_INLINE uint32_t SignsOf32(const uint8_t* block, int g) {
    if constexpr (kType == TensorType::kIQ2_XXS) return four_even_signs(load_as<uint32_t>(block + 6 + 8 * g));
    else if constexpr (kType == TensorType::kIQ3_XXS) return four_even_signs(load_as<uint32_t>(block + 66 + 4 * g));
    else if constexpr (kType == TensorType::kIQ2_S) return load_as<uint32_t>(block + 34 + 4 * g);
    else if constexpr (kType == TensorType::kIQ3_S) return load_as<uint32_t>(block + 74 + 4 * g);
    else {  // IQ2_XS: the upper seven bits of four words
        const auto words = load_as<uint64_t>(block + 2 + 8 * g);
        return four_even_signs(static_cast<uint32_t>((words >> 9 & 0x7f) | (words >> 18 & 0x3f80) | (words >> 27 & 0x1fc000) | (words >> 36 & 0xfe00000)));
    }
}

template <TensorType kType>
HWY_INLINE void UnpackByCodeBook(const uint8_t* HWY_RESTRICT block, int8_t* HWY_RESTRICT out) {
    const hn::CappedTag<uint8_t, 32> d;
    const hn::CappedTag<int8_t, 32> di;
    const hn::CappedTag<uint64_t, 1> d1;
    const hn::CappedTag<uint64_t, 2> d2;
    const hn::Repartition<uint64_t, decltype(d)> dv;
    const auto sixteen = [&](int e) {
        const uint64_t low = EightValues<kType>(block, e), high = EightValues<kType>(block, e + 1);
        return hn::Combine(d2, hn::Load(d1, &high), hn::Load(d1, &low));
    };
    for (int g = 0; g < 8; ++g) {
        uint32_t signs = 0;
        if constexpr (kType != TensorType::kIQ1_S && kType != TensorType::kIQ1_M) signs = SignsOf32<kType>(block, g);
        for (size_t i = 0; i < 32; i += hn::Lanes(d)) {
            const int e = 4 * g + static_cast<int>(i) / 8;
            hn::Vec<decltype(dv)> eights;
            if constexpr (hn::MaxLanes(d) == 32) eights = hn::Combine(dv, sixteen(e + 2), sixteen(e));
            else eights = sixteen(e);
            auto values = hn::BitCast(di, eights);
            if constexpr (kType != TensorType::kIQ1_S && kType != TensorType::kIQ1_M)
                values = hn::IfThenElse(hn::RebindMask(di, BitsOf32(d, signs, i)), hn::Neg(values), values);
            hn::Store(values, di, out + 32 * g + i);
        }
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
    const float d = half_to_float(load_as<uint16_t>(block));
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
