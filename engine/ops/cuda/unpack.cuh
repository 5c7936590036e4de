// Groups of 32 weights in registers, from the planes of device_weight.h. A group of a quantized type is eight words of four signed bytes, word j holding
// values 4 j .. 4 j + 3, and a scale (and a minimum) of each half:
//   value = scale * byte - minimum
// to the last bit what TensorTypeInfo::dequantize gives. Where the codes of a type are offset (q - 8), bytes are the difference times a power of two,
// because that takes one operation for four values, and the scale is divided by it, which is exact.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "engine/model/block_scales.h"
#include "engine/ops/cuda/device_weight.h"

namespace gs::cuda {

template <Format F>
inline constexpr FormatTraits kTraits = kFormats[static_cast<int>(F)];
template <Format F>
inline constexpr bool kPlain = is_plain(F);

/// One matrix of a stack, as kernels walk it.
struct SlabView {
    const std::byte* data;
    size_t n;                  ///< groups
};

__device__ inline SlabView view_of(const DeviceMatrix& m, int slab) {
    return {m.data + m.slab_bytes * static_cast<size_t>(slab), static_cast<size_t>(m.n_out) * static_cast<size_t>(m.n_groups)};
}

template <class T>
__device__ inline T load_plane(const std::byte* plane, size_t index) { return __ldg(reinterpret_cast<const T*>(plane) + index); }

template <Format F>
__device__ inline uint4 load_quad(const SlabView& w, int plane, size_t index) {
    return load_plane<uint4>(w.data, w.n * static_cast<size_t>(plane) + index);
}

__device__ inline float half_bits(uint32_t bits) { return __half2float(__ushort_as_half(static_cast<unsigned short>(bits))); }
__device__ inline float bfloat_bits(uint32_t bits) { return __uint_as_float(bits << 16); }
/// Byte i of a word, signed.
__device__ inline int byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> 8 * i); }

/// MXFP4: 2^(e - 128). The two smallest are subnormal.
__device__ inline float e8m0_half_bits(uint32_t e) { return __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23); }

/// NVFP4: half of the unsigned float of four exponent bits and three of mantissa; the code without a number is zero.
__device__ inline float e4m3_half_bits(uint32_t code) {
    const uint32_t exponent = code >> 3 & 15, mantissa = code & 7;
    if (code == 0x7f) return 0;
    if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
    return __uint_as_float((exponent + 127 - 8) << 23 | mantissa << 20);
}

template <Format F>
struct Group {
    uint4 quads[kTraits<F>.quads == 2 ? 2 : 1];
    uint2 twos;
    uint32_t ones;
    float scale[2], min[2];    ///< of values 0..15 and 16..31
};

template <Format F>
__device__ inline void load_scales(const std::byte* scales, const std::byte* supers, size_t index, Group<F>& g) {
    g.min[0] = g.min[1] = 0;
    const auto both = [&g](float scale) { g.scale[0] = g.scale[1] = scale; };
    if constexpr (F == Format::kQ4_1 || F == Format::kQ5_1) {
        const uint32_t pair = load_plane<uint32_t>(scales, index);
        both(half_bits(pair & 0xffffu));
        g.min[0] = g.min[1] = -half_bits(pair >> 16);
    } else if constexpr (F == Format::kQ4_0 || F == Format::kQ5_0 || F == Format::kQ8_0 || F == Format::kIQ4_NL) {
        constexpr float kPart = F == Format::kQ4_0 ? 1 / 16.0f : F == Format::kQ5_0 ? 1 / 8.0f : 1;
        both(half_bits(load_plane<uint16_t>(scales, index)) * kPart);
    } else if constexpr (F == Format::kMXFP4) {
        both(e8m0_half_bits(load_plane<uint8_t>(scales, index)));
    } else if constexpr (F == Format::kNVFP4) {
        const uint32_t pair = load_plane<uint16_t>(scales, index);
        g.scale[0] = e4m3_half_bits(pair & 255u);
        g.scale[1] = e4m3_half_bits(pair >> 8);
    } else if constexpr (F == Format::kIQ4_XS) {
        both(half_bits(load_plane<uint16_t>(supers, index / 8)) * static_cast<float>(static_cast<int8_t>(load_plane<uint8_t>(scales, index))));
    } else if constexpr (F == Format::kQ2_K) {
        const uint32_t pair = load_plane<uint16_t>(scales, index), halves = load_plane<uint32_t>(supers, index / 8);
        for (int s = 0; s < 2; ++s) {
            g.scale[s] = half_bits(halves & 0xffffu) * static_cast<float>(pair >> 8 * s & 15u);
            g.min[s] = half_bits(halves >> 16) * static_cast<float>(pair >> (8 * s + 4) & 15u);
        }
    } else if constexpr (F == Format::kQ4_K || F == Format::kQ5_K) {
        const uint32_t pair = load_plane<uint16_t>(scales, index), halves = load_plane<uint32_t>(supers, index / 8);
        both(half_bits(halves & 0xffffu) * static_cast<float>(pair & 255u));
        g.min[0] = g.min[1] = half_bits(halves >> 16) * static_cast<float>(pair >> 8);
    } else if constexpr (F == Format::kQ3_K || F == Format::kQ6_K) {
        constexpr float kPart = F == Format::kQ3_K ? 1 / 32.0f : 1 / 4.0f;
        const uint32_t pair = load_plane<uint16_t>(scales, index);
        const float d = half_bits(load_plane<uint16_t>(supers, index / 8)) * kPart;
        g.scale[0] = d * static_cast<float>(byte_of(pair, 0));
        g.scale[1] = d * static_cast<float>(byte_of(pair, 1));
    } else if constexpr (F == Format::kExpanded) {
        const float2 pair = load_plane<float2>(scales, index);
        g.scale[0] = pair.x;
        g.scale[1] = pair.y;
    }
}

/// Group `index` of a quantized type.
template <Format F>
__device__ inline Group<F> load_group(const SlabView& w, size_t index) {
    static_assert(!kPlain<F>);
    constexpr FormatTraits kT = kTraits<F>;
    Group<F> g;
    if constexpr (kT.quads >= 1) g.quads[0] = load_quad<F>(w, 0, index);
    if constexpr (kT.quads == 2) g.quads[1] = load_quad<F>(w, 1, index);
    const std::byte* twos = w.data + w.n * (16 * kT.quads);
    const std::byte* ones = twos + w.n * (8 * kT.twos);
    const std::byte* scales = ones + w.n * (4 * kT.ones);
    if constexpr (kT.twos != 0) g.twos = load_plane<uint2>(twos, index);
    if constexpr (kT.ones != 0) g.ones = load_plane<uint32_t>(ones, index);
    load_scales<F>(scales, scales + w.n * kT.scale_bytes, index, g);
    return g;
}

/// Four bytes of sixteen in `table`, by four nibbles of `selectors`.
__device__ inline uint32_t look_up(const uint32_t (&table)[4], uint32_t selectors) {
    const uint32_t eighth = selectors & 0x7777u;
    const uint32_t low = __byte_perm(table[0], table[1], eighth), high = __byte_perm(table[2], table[3], eighth);
    return __byte_perm(low, high, 0x3210u | (selectors & 0x8888u) >> 1);
}

/// Words i and i + 4 of a type whose nibbles stand for values of a code book.
template <Format F>
__device__ inline void book_words(uint32_t packed, uint32_t& low, uint32_t& high) {
    constexpr auto word = [](const int8_t (&values)[16], int i) constexpr {
        uint32_t w = 0;
        for (int b = 0; b < 4; ++b) w |= static_cast<uint32_t>(static_cast<uint8_t>(values[4 * i + b])) << 8 * b;
        return w;
    };
    constexpr bool kFp4 = F == Format::kMXFP4 || F == Format::kNVFP4;
    constexpr uint32_t kWords[4] = {word(kFp4 ? kFp4Values : kIq4Values, 0), word(kFp4 ? kFp4Values : kIq4Values, 1),
                                    word(kFp4 ? kFp4Values : kIq4Values, 2), word(kFp4 ? kFp4Values : kIq4Values, 3)};
    const uint32_t first = look_up(kWords, packed), second = look_up(kWords, packed >> 16);
    low = __byte_perm(first, second, 0x6420);
    high = __byte_perm(first, second, 0x7531);
}

__device__ inline uint32_t component(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
__device__ inline uint32_t shifted(uint32_t v, int left) { return left >= 0 ? v << left : v >> -left; }

/// Words i and i + 4 of a group, i < 4 and known when compiled.
template <Format F>
__device__ inline void unpack_words(const Group<F>& g, int i, uint32_t& low, uint32_t& high) {
    constexpr uint32_t kSigns = 0x80808080u, kNibbles = 0x0f0f0f0fu;
    const uint32_t q = component(g.quads[0], i);
    if constexpr (F == Format::kQ4_0) {
        low = ((q << 4) & 0xf0f0f0f0u) ^ kSigns;
        high = (q & 0xf0f0f0f0u) ^ kSigns;
    } else if constexpr (F == Format::kQ5_0) {
        low = (((q << 3) & 0x78787878u) | ((g.ones << i) & kSigns)) ^ kSigns;
        high = (((q >> 1) & 0x78787878u) | ((g.ones << (i + 4)) & kSigns)) ^ kSigns;
    } else if constexpr (F == Format::kQ4_1 || F == Format::kQ4_K) {
        low = q & kNibbles;
        high = q >> 4 & kNibbles;
    } else if constexpr (F == Format::kQ5_1 || F == Format::kQ5_K) {
        low = (q & kNibbles) | (shifted(g.ones, i - 3) & 0x10101010u);
        high = (q >> 4 & kNibbles) | (shifted(g.ones, i + 1) & 0x10101010u);
    } else if constexpr (F == Format::kQ6_K) {
        low = (((q << 2) & 0x3c3c3c3cu) | ((g.twos.x << 2 * i) & 0xc0c0c0c0u)) ^ kSigns;
        high = (((q >> 2) & 0x3c3c3c3cu) | ((g.twos.y << 2 * i) & 0xc0c0c0c0u)) ^ kSigns;
    } else if constexpr (F == Format::kQ3_K) {
        low = ((shifted(g.twos.x, 2 * i - 1) & 0x60606060u) | ((g.ones << i) & kSigns)) ^ kSigns;
        high = ((shifted(g.twos.y, 2 * i - 1) & 0x60606060u) | ((g.ones << (i + 4)) & kSigns)) ^ kSigns;
    } else if constexpr (F == Format::kQ2_K) {
        low = g.twos.x >> (6 - 2 * i) & 0x03030303u;
        high = g.twos.y >> (6 - 2 * i) & 0x03030303u;
    } else if constexpr (F == Format::kQ8_0 || F == Format::kExpanded) {
        low = q;
        high = component(g.quads[1], i);
    } else {
        book_words<F>(q, low, high);
    }
}

/// Values 4 j .. 4 j + 3 of group `index` of a plain type.
template <Format F>
__device__ inline float4 plain_four(const SlabView& w, size_t index, int j) {
    static_assert(kPlain<F>);
    if constexpr (F == Format::kF32) {
        return load_plane<float4>(w.data, w.n * static_cast<size_t>(j) + index);
    } else {
        // Two words of each four halves; the compiler loads a piece once for both of its fours.
        const uint4 piece = load_quad<F>(w, j / 2, index);
        const uint32_t a = j % 2 == 0 ? piece.x : piece.z, b = j % 2 == 0 ? piece.y : piece.w;
        if constexpr (F == Format::kF16) return make_float4(half_bits(a & 0xffffu), half_bits(a >> 16), half_bits(b & 0xffffu), half_bits(b >> 16));
        else return make_float4(bfloat_bits(a & 0xffffu), bfloat_bits(a >> 16), bfloat_bits(b & 0xffffu), bfloat_bits(b >> 16));
    }
}

__device__ inline float4 bytes_to_floats(uint32_t word) {
#if defined(__CUDACC__)
    // Hides what is known of the bits: the compiler would take each nibble out of the packed word anew, by a shift and a mask.
    asm("" : "+r"(word));
#endif
    return make_float4(static_cast<float>(byte_of(word, 0)), static_cast<float>(byte_of(word, 1)), static_cast<float>(byte_of(word, 2)),
                       static_cast<float>(byte_of(word, 3)));
}

/// scale * q - min as the formulas round it: the product and the difference apart.
template <Format F>
__device__ inline float4 scaled_four(uint32_t word, float scale, float min) {
    const float4 q = bytes_to_floats(word);
    float4 v = make_float4(__fmul_rn(q.x, scale), __fmul_rn(q.y, scale), __fmul_rn(q.z, scale), __fmul_rn(q.w, scale));
    if constexpr (kTraits<F>.has_min) v = make_float4(__fsub_rn(v.x, min), __fsub_rn(v.y, min), __fsub_rn(v.z, min), __fsub_rn(v.w, min));
    return v;
}

/// Calls put(j, four values) for the eight fours of group `index`.
template <Format F, class Put>
__device__ inline void dequantize_group(const SlabView& w, size_t index, const Put& put) {
    if constexpr (kPlain<F>) {
#pragma unroll
        for (int j = 0; j < 8; ++j) put(j, plain_four<F>(w, index, j));
    } else {
        const Group<F> g = load_group<F>(w, index);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            uint32_t low, high;
            unpack_words<F>(g, i, low, high);
            put(i, scaled_four<F>(low, g.scale[0], g.min[0]));
            put(i + 4, scaled_four<F>(high, g.scale[1], g.min[1]));
        }
    }
}

/// visit.template operator()<F>() for the format known at run time. Uniform over a block, so that no warp diverges.
template <class Visit>
__device__ inline void for_format(Format format, const Visit& visit) {
    switch (format) {
        case Format::kF32: visit.template operator()<Format::kF32>(); break;
        case Format::kF16: visit.template operator()<Format::kF16>(); break;
        case Format::kBF16: visit.template operator()<Format::kBF16>(); break;
        case Format::kQ4_0: visit.template operator()<Format::kQ4_0>(); break;
        case Format::kQ4_1: visit.template operator()<Format::kQ4_1>(); break;
        case Format::kQ5_0: visit.template operator()<Format::kQ5_0>(); break;
        case Format::kQ5_1: visit.template operator()<Format::kQ5_1>(); break;
        case Format::kQ8_0: visit.template operator()<Format::kQ8_0>(); break;
        case Format::kIQ4_NL: visit.template operator()<Format::kIQ4_NL>(); break;
        case Format::kMXFP4: visit.template operator()<Format::kMXFP4>(); break;
        case Format::kNVFP4: visit.template operator()<Format::kNVFP4>(); break;
        case Format::kIQ4_XS: visit.template operator()<Format::kIQ4_XS>(); break;
        case Format::kQ2_K: visit.template operator()<Format::kQ2_K>(); break;
        case Format::kQ3_K: visit.template operator()<Format::kQ3_K>(); break;
        case Format::kQ4_K: visit.template operator()<Format::kQ4_K>(); break;
        case Format::kQ5_K: visit.template operator()<Format::kQ5_K>(); break;
        case Format::kQ6_K: visit.template operator()<Format::kQ6_K>(); break;
        case Format::kExpanded: visit.template operator()<Format::kExpanded>(); break;
    }
}

}  // namespace gs::cuda
