#include "engine/ops/cuda/device_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/check.h"
#include "engine/model/block_scales.h"

namespace gs::cuda {
namespace {

const uint8_t* bytes_of(const std::byte* p) { return reinterpret_cast<const uint8_t*>(p); }

/// One group before it is spread over planes: codes of up to eight bits, and the scales in the form that kernels read.
struct GroupCodes {
    uint8_t codes[kGroup];
    uint8_t scales[8];
};

void take_nibbles(const uint8_t* packed, GroupCodes& g) {
    for (int i = 0; i < 16; ++i) {
        g.codes[i] = packed[i] & 15;
        g.codes[16 + i] = packed[i] >> 4;
    }
}

void take_fifth_bits(uint32_t bits, GroupCodes& g) {
    for (int i = 0; i < kGroup; ++i) g.codes[i] = static_cast<uint8_t>(g.codes[i] | (bits >> i & 1u) << 4);
}

// Blocks of 32 values: a block is a group.
void take_small(Format format, const uint8_t* block, GroupCodes& g) {
    const int scale_bytes = kFormats[static_cast<int>(format)].scale_bytes;
    std::memcpy(g.scales, block, static_cast<size_t>(scale_bytes));
    const uint8_t* rest = block + scale_bytes;
    if (format == Format::kQ8_0) {
        std::memcpy(g.codes, rest, kGroup);
    } else if (format == Format::kQ5_0 || format == Format::kQ5_1) {
        take_nibbles(rest + 4, g);
        take_fifth_bits(load_as<uint32_t>(rest), g);
    } else {
        take_nibbles(rest, g);
    }
}

/// Half of a block of 64: four scales, then sixteen values in eight bytes for each.
void take_nvfp4(const uint8_t* block, int half, GroupCodes& g) {
    for (int s = 0; s < 2; ++s) {
        g.scales[s] = block[2 * half + s];
        const uint8_t* packed = block + 4 + 8 * (2 * half + s);
        for (int i = 0; i < 8; ++i) {
            g.codes[16 * s + i] = packed[i] & 15;
            g.codes[16 * s + 8 + i] = packed[i] >> 4;
        }
    }
}

/// Group v of a super-block: bits `bits` at a time, 32 bytes holding the values of 8 / bits groups.
int spread_bits(const uint8_t* qs, int v, int i, int bits) {
    const int per_byte = 8 / bits;
    return qs[v / per_byte * 32 + i] >> v % per_byte * bits & ((1 << bits) - 1);
}

void take_super(Format format, const uint8_t* block, int v, GroupCodes& g) {
    uint8_t six[16];
    for (int i = 0; i < kGroup; ++i) {
        int code = 0;
        switch (format) {
            case Format::kQ2_K: code = spread_bits(block + 16, v, i, 2); break;
            case Format::kQ3_K: code = spread_bits(block + 32, v, i, 2) | (block[i] >> v & 1) << 2; break;
            case Format::kQ4_K: code = spread_bits(block + 16, v, i, 4); break;
            case Format::kQ5_K: code = spread_bits(block + 48, v, i, 4) | (block[16 + i] >> v & 1) << 4; break;
            case Format::kQ6_K: {
                const int half = v / 4, quarter = v % 4;
                code = (block[64 * half + 32 * (quarter & 1) + i] >> quarter / 2 * 4 & 15) | (block[128 + 32 * half + i] >> 2 * quarter & 3) << 4;
                break;
            }
            default: break;
        }
        g.codes[i] = static_cast<uint8_t>(code);
    }
    switch (format) {
        case Format::kQ2_K: std::memcpy(g.scales, block + 2 * v, 2); break;
        case Format::kQ3_K:
            unpack_six_bit_scales(block + 96, six);
            for (int s = 0; s < 2; ++s) g.scales[s] = static_cast<uint8_t>(six[2 * v + s] - 32);
            break;
        case Format::kQ4_K:
        case Format::kQ5_K:
            unpack_scales_and_minima(block + 4, six);
            g.scales[0] = six[v];
            g.scales[1] = six[8 + v];
            break;
        case Format::kQ6_K: std::memcpy(g.scales, block + 192 + 2 * v, 2); break;
        case Format::kIQ4_XS:
            take_nibbles(block + 8 + 16 * v, g);
            unpack_eight_scales(load_as<uint16_t>(block + 2), load_as<uint32_t>(block + 4), six);
            g.scales[0] = static_cast<uint8_t>(six[v] - 32);
            break;
        default: break;
    }
}

/// Where the halves that multiply a super-block's scales are.
int super_at(Format format) {
    switch (format) {
        case Format::kQ2_K: return 80;
        case Format::kQ3_K: return 108;
        case Format::kQ6_K: return 208;
        default: return 0;
    }
}

/// What multiplies the whole numbers of values 16 s .. 16 s + 15 of a block: by the formulas of tensor_type_iq.cpp.
float expanded_scale(TensorType type, const uint8_t* b, int s) {
    const auto half = [b](int at) { return half_to_float(load_as<uint16_t>(b + at)); };
    const auto nibble = [](uint8_t byte, int which) { return static_cast<float>(byte >> 4 * which & 15); };
    switch (type) {
        case TensorType::kIQ2_XXS: return half(0) * (0.5f + static_cast<float>(load_as<uint32_t>(b + 2 + 8 * (s / 2) + 4) >> 28)) * 0.25f;
        case TensorType::kIQ2_XS: return half(0) * (0.5f + nibble(b[66 + s / 2], s % 2)) * 0.25f;
        case TensorType::kIQ2_S: return half(0) * (0.5f + nibble(b[74 + s / 2], s % 2)) * 0.25f;
        case TensorType::kIQ3_XXS: return half(0) * (0.5f + static_cast<float>(load_as<uint32_t>(b + 66 + 4 * (s / 2)) >> 28)) * 0.5f;
        case TensorType::kIQ3_S: return half(0) * (1 + 2 * nibble(b[106 + s / 4], s / 2 % 2));
        case TensorType::kIQ1_S: return half(0) * static_cast<float>(2 * (load_as<uint16_t>(b + 34 + 2 * (s / 2)) >> 12 & 7) + 1) * 0.125f;
        case TensorType::kIQ1_M: {
            const auto words = load_as<uint64_t>(b + 48);
            return half_to_float(iq1_m_half(words)) * static_cast<float>(2 * iq1_m_scale(words, s) + 1) * 0.125f;
        }
        case TensorType::kTQ1_0: return half(52);
        case TensorType::kTQ2_0: return half(64);
        default: return half(0);   // q1_0, q2_0
    }
}

/// Group v of a block, from its decoded values: each is a whole number times the scale.
void take_expanded(TensorType type, const uint8_t* block, const float* values, int v, GroupCodes& g) {
    for (int s = 0; s < 2; ++s) {
        const float scale = expanded_scale(type, block, 2 * v + s);
        std::memcpy(g.scales + 4 * s, &scale, 4);
        // A scale of 0 has values 0; one without a number has no value with a number, whatever the code.
        const bool divides = scale != 0 && std::isfinite(scale);
        for (int i = 16 * s; i < 16 * s + 16; ++i)
            g.codes[i] = static_cast<uint8_t>(divides ? static_cast<int8_t>(std::lrint(values[kGroup * v + i] / scale)) : scale == 0 ? 0 : 1);
    }
}

/// Writes groups into the planes of one slab, in order.
class PlaneWriter {
public:
    PlaneWriter(Format format, size_t n_groups, std::byte* out) : m_traits(kFormats[static_cast<int>(format)]) {
        const std::vector<Plane> planes = planes_of(format, n_groups);
        auto plane = [&, next = size_t{0}](int n) mutable {
            uint8_t* first = next < planes.size() ? reinterpret_cast<uint8_t*>(out) + planes[next].offset : nullptr;
            next += static_cast<size_t>(n);
            return first;
        };
        m_quads = plane(m_traits.quads);
        m_twos = plane(m_traits.twos);
        m_ones = plane(m_traits.ones);
        m_scales = plane(m_traits.scale_bytes > 0);
        m_supers = plane(m_traits.super_bytes > 0);
        m_n = n_groups;
    }

    void put(size_t index, const GroupCodes& g) {
        const uint8_t* codes = g.codes;
        if (m_traits.quads == 2) put_raw(index, codes, kGroup);
        if (m_traits.quads == 1)
            for (int i = 0; i < 16; ++i) m_quads[16 * index + static_cast<size_t>(i)] = static_cast<uint8_t>((codes[i] & 15) | (codes[16 + i] & 15) << 4);
        if (m_traits.twos) {
            const int shift = m_traits.quads == 1 ? 4 : 0;
            uint32_t words[2] = {};
            for (int v = 0; v < kGroup; ++v) words[v / 16] |= static_cast<uint32_t>(codes[v] >> shift & 3) << (8 * (v % 4) + 6 - 2 * (v / 4 % 4));
            std::memcpy(m_twos + 8 * index, words, 8);
        }
        if (m_traits.ones) {
            const int shift = m_traits.quads == 1 ? 4 : 2;
            uint32_t word = 0;
            for (int v = 0; v < kGroup; ++v) word |= static_cast<uint32_t>(codes[v] >> shift & 1) << (8 * (v % 4) + 7 - v / 4);
            std::memcpy(m_ones + 4 * index, &word, 4);
        }
        const auto n = static_cast<size_t>(m_traits.scale_bytes);
        std::memcpy(m_scales + n * index, g.scales, n);
    }
    void put_super(size_t index, const uint8_t* halves) {
        const auto n = static_cast<size_t>(m_traits.super_bytes);
        std::memcpy(m_supers + n * index, halves, n);
    }
    /// n bytes of a group, 16 a plane.
    void put_raw(size_t index, const uint8_t* bytes, size_t n) {
        for (size_t p = 0; 16 * p < n; ++p) std::memcpy(m_quads + 16 * (m_n * p + index), bytes + 16 * p, std::min<size_t>(16, n - 16 * p));
    }

private:
    FormatTraits m_traits;
    size_t m_n;
    uint8_t *m_quads, *m_twos, *m_ones, *m_scales, *m_supers;   // of planes that the format does not have: anything
};

/// Of n_rows rows.
size_t groups_of(const Weight& w, int n_rows) { return static_cast<size_t>((w.n_in + kGroup - 1) / kGroup) * static_cast<size_t>(n_rows); }

void pack_plain_row(const uint8_t* row, size_t n_bytes, size_t group_bytes, size_t first, PlaneWriter& planes) {
    for (size_t at = 0; at < n_bytes; at += group_bytes, ++first) planes.put_raw(first, row + at, std::min(group_bytes, n_bytes - at));
}

void pack_quantized_row(TensorType type, Format format, const uint8_t* row, int n_groups, size_t first, PlaneWriter& planes) {
    const TensorTypeInfo& info = tensor_type_info(type);
    const int per_block = static_cast<int>(info.block_values) / kGroup;
    float values[256];
    for (int g = 0; g < n_groups; ++g) {
        const uint8_t* block = row + static_cast<size_t>(g / per_block) * info.block_bytes;
        const int v = g % per_block;
        GroupCodes codes;
        if (format == Format::kExpanded) {
            if (v == 0) info.dequantize(reinterpret_cast<const std::byte*>(block), 1, values);
            take_expanded(type, block, values, v, codes);
        } else if (format == Format::kNVFP4) {
            take_nvfp4(block, v, codes);
        } else if (per_block == 8) {
            take_super(format, block, v, codes);
            if (v == 0) planes.put_super((first + static_cast<size_t>(g)) / 8, block + super_at(format));
        } else {
            take_small(format, block, codes);
        }
        planes.put(first + static_cast<size_t>(g), codes);
    }
}

}  // namespace

Format format_of(TensorType type) {
    switch (type) {
        case TensorType::kF32: return Format::kF32;
        case TensorType::kF16: return Format::kF16;
        case TensorType::kBF16: return Format::kBF16;
        case TensorType::kQ4_0: return Format::kQ4_0;
        case TensorType::kQ4_1: return Format::kQ4_1;
        case TensorType::kQ5_0: return Format::kQ5_0;
        case TensorType::kQ5_1: return Format::kQ5_1;
        case TensorType::kQ8_0: return Format::kQ8_0;
        case TensorType::kIQ4_NL: return Format::kIQ4_NL;
        case TensorType::kMXFP4: return Format::kMXFP4;
        case TensorType::kNVFP4: return Format::kNVFP4;
        case TensorType::kIQ4_XS: return Format::kIQ4_XS;
        case TensorType::kQ2_K: return Format::kQ2_K;
        case TensorType::kQ3_K: return Format::kQ3_K;
        case TensorType::kQ4_K: return Format::kQ4_K;
        case TensorType::kQ5_K: return Format::kQ5_K;
        case TensorType::kQ6_K: return Format::kQ6_K;
        default: return Format::kExpanded;
    }
}

std::vector<Plane> planes_of(Format format, size_t n_groups) {
    const FormatTraits& t = kFormats[static_cast<int>(format)];
    std::vector<Plane> planes;
    size_t at = 0;
    const auto add = [&](size_t stride, size_t groups) {
        planes.push_back({at, stride, groups});
        at += planes.back().bytes_of(n_groups);
    };
    for (int i = 0; i < t.quads; ++i) add(16, 1);
    for (int i = 0; i < t.twos; ++i) add(8, 1);
    for (int i = 0; i < t.ones; ++i) add(4, 1);
    if (t.scale_bytes > 0) add(static_cast<size_t>(t.scale_bytes), 1);
    if (t.super_bytes > 0) add(static_cast<size_t>(t.super_bytes), 8);
    return planes;
}

size_t packed_bytes(const Weight& w, int n_rows) {
    const Plane last = planes_of(format_of(w.type), groups_of(w, n_rows)).back();
    return (last.offset + last.bytes_of(groups_of(w, n_rows)) + 15) / 16 * 16;
}

DeviceMatrix device_shape(const Weight& w) {
    const DeviceMatrix m{nullptr, format_of(w.type), w.n_in, w.n_out, w.n_slabs, (w.n_in + kGroup - 1) / kGroup, packed_bytes(w, w.n_out)};
    GS_CHECK(groups_of(w, w.n_out) <= INT32_MAX, "a matrix of more than 2^36 values");   // kernels count its groups in 32 bits
    return m;
}

void pack_rows(const Weight& w, int slab, int first_row, int n_rows, std::byte* out) {
    GS_CHECK(!w.tiled, "weights that another back end has rearranged");
    const Format format = format_of(w.type);
    const size_t n_groups = groups_of(w, 1);
    PlaneWriter planes(format, groups_of(w, n_rows), out);
    const size_t value_bytes = w.type == TensorType::kF32 ? 4 : 2;
    if (is_plain(format) && w.n_in % kGroup != 0) std::memset(out, 0, packed_bytes(w, n_rows));
    for (int o = 0; o < n_rows; ++o) {
        const uint8_t* row = bytes_of(w.row(first_row + o, slab));
        const size_t first = static_cast<size_t>(o) * n_groups;
        if (is_plain(format)) pack_plain_row(row, value_bytes * static_cast<size_t>(w.n_in), value_bytes * kGroup, first, planes);
        else pack_quantized_row(w.type, format, row, static_cast<int>(n_groups), first, planes);
    }
}

}  // namespace gs::cuda
