// What a panel of the AVX-512 VNNI product holds. Private to vnni*.cpp.
#pragma once

#include "engine/ops/cpu/vnni_input.h"

namespace gs::cpu {

constexpr int kHalf = kRowsPerTile;  // rows per vector

/// Some values with one scale of 32 rows: [2 halves][groups of 4 values][16 rows][4 bytes, 128 up], then scales and minima of the rows.
template <int kRun>
struct alignas(64) PanelRun {
    uint8_t values[2][kRun / 4][kHalf][4];
    float scale[2][kHalf], min[2][kHalf];
};

}  // namespace gs::cpu
