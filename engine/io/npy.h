// NumPy arrays: the .npy format (versions 1 to 3, numpy/lib/format.py), row-major and little-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace gs {

struct NpyArray {
    char kind = 'i';                             ///< 'i' signed, 'u' unsigned, 'f' float, 'b' bool
    int item_bytes = 4;                          ///< 1, 2, 4 or 8
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;            ///< of the file it was read from; not aligned

    int64_t n_values() const;
    bool is_integer() const { return kind == 'i' || kind == 'u' || kind == 'b'; }
    /// Value i as a number; half floats too. In range.
    int64_t integer(int64_t i) const;
    double number(int64_t i) const;
};

/// `file` must outlive the array. Errors: kInput "bad_magic", "bad_header", "unsupported" (Fortran order, big-endian, other types), "truncated".
Result<NpyArray> read_npy(std::span<const std::byte> file);

/// A whole .npy file of row-major little-endian values. descr: "<f4", "<i4", "<u2", "|u1", …
std::string write_npy(const char* descr, std::span<const int64_t> shape, std::span<const std::byte> values);

}  // namespace gs
