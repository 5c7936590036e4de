// How weights lie in device memory, and their packing on the host. Values are those of the file to the last bit; only their places differ, because
// blocks of 17 to 210 bytes can be read neither aligned nor by neighbouring lanes from neighbouring addresses.
//
// A row is cut into groups of 32 values. What a group consists of lies in planes, one plane behind the other, group g of row o at index
// o * n_groups + g of each:
//   quads    16 bytes a plane: 32 nibbles (value i < 16 the low nibble of byte i, value 16 + i the high one), half of 32 bytes, 8 halves, 4 floats
//   twos     8 bytes: two bits a value. Word w holds values 16 w .. 16 w + 15, value v at bit 8 (v % 4) + 6 - 2 (v / 4 % 4)
//   ones     4 bytes: one bit a value, value v at bit 8 (v % 4) + 7 - v / 4: one shift and one mask give a bit of four values in four bytes
//   scales   of the group, as in the file, or six-bit ones widened to bytes
//   supers   of 256 values: the halves that multiply their scales
// Rows of plain types are padded with zeros to whole groups. Types of code books and ternary ones, whose blocks no kernel reads, become bytes and an
// f32 scale for every 16 values (Format::kExpanded): exact like the file, and smaller than bf16, which would not be.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/model/weights.h"

namespace gs::cuda {

constexpr int kGroup = 32;     ///< values

enum class Format : int32_t {
    kF32, kF16, kBF16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kIQ4_NL, kMXFP4, kNVFP4, kIQ4_XS, kQ2_K, kQ3_K, kQ4_K, kQ5_K, kQ6_K, kExpanded
};
constexpr int kFormatCount = 18;

struct FormatTraits {
    int quads;                 ///< planes of 16 bytes a group
    int twos, ones;            ///< planes of 8 and of 4 bytes
    int scale_bytes;           ///< a group
    int super_bytes;           ///< eight groups
    int run;                   ///< values that share a scale; 0: none
    bool has_min;
};

inline constexpr FormatTraits kFormats[kFormatCount] = {
    {8, 0, 0, 0, 0, 0, false},    // f32
    {4, 0, 0, 0, 0, 0, false},    // f16
    {4, 0, 0, 0, 0, 0, false},    // bf16
    {1, 0, 0, 2, 0, 32, false},   // q4_0
    {1, 0, 0, 4, 0, 32, true},    // q4_1: scale, minimum
    {1, 0, 1, 2, 0, 32, false},   // q5_0
    {1, 0, 1, 4, 0, 32, true},    // q5_1
    {2, 0, 0, 2, 0, 32, false},   // q8_0
    {1, 0, 0, 2, 0, 32, false},   // iq4_nl
    {1, 0, 0, 1, 0, 32, false},   // mxfp4: e8m0
    {1, 0, 0, 2, 0, 16, false},   // nvfp4: two e4m3
    {1, 0, 0, 1, 2, 32, false},   // iq4_xs: one signed byte
    {0, 1, 0, 2, 4, 16, true},    // q2_K: two bytes as in the file, scale in the low nibble
    {0, 1, 1, 2, 2, 16, false},   // q3_K: two signed bytes
    {1, 0, 0, 2, 4, 32, true},    // q4_K: scale, minimum
    {1, 0, 1, 2, 4, 32, true},    // q5_K
    {1, 1, 0, 2, 2, 16, false},   // q6_K: two signed bytes
    {2, 0, 0, 8, 0, 16, false},   // expanded: two floats
};

constexpr bool is_plain(Format f) { return f <= Format::kBF16; }
Format format_of(TensorType type);

/// A matrix on the device, or a stack of them: what kernels are given. Plain data.
struct DeviceMatrix {
    const std::byte* data = nullptr;   ///< aligned to 16
    Format format = Format::kF32;
    int n_in = 0, n_out = 0, n_slabs = 0;
    int n_groups = 0;                  ///< of a row
    size_t slab_bytes = 0;             ///< a multiple of 16

    DeviceMatrix slab(int s) const {
        DeviceMatrix m = *this;
        m.data += slab_bytes * static_cast<size_t>(s);
        m.n_slabs = 1;
        return m;
    }
    size_t n_bytes() const { return slab_bytes * static_cast<size_t>(n_slabs); }
};

/// The shape of w on the device; data is null.
DeviceMatrix device_shape(const Weight& w);
/// One plane of a slab of n groups.
struct Plane {
    size_t offset;             ///< from the slab's beginning
    size_t stride;             ///< bytes of `groups` groups
    size_t groups;             ///< 8 of super-blocks' halves, else 1
    size_t bytes_of(size_t n_groups) const { return n_groups / groups * stride; }
};
std::vector<Plane> planes_of(Format format, size_t n_groups);

/// Rows first_row .. first_row + n_rows - 1 of slab `slab` as if they were a slab of their own: at `out`, in host memory, aligned to 16, packed_bytes() of
/// them. Their planes are pieces of the whole slab's.
void pack_rows(const Weight& w, int slab, int first_row, int n_rows, std::byte* out);
size_t packed_bytes(const Weight& w, int n_rows);
/// Slab `slab` of w as device_shape(w) has it.
inline void pack_slab(const Weight& w, int slab, std::byte* out) { pack_rows(w, slab, 0, w.n_out, out); }

}  // namespace gs::cuda
