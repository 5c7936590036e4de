// Code books of the IQ types: small vectors of few levels, chosen by training, that blocks refer to by index. Private to tensor_type*.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gs {

// Eight values an entry, value j is the level (entry >> 2 j) & 3: levels 8, 25, 43 for IQ2, -1, 0, 1 for IQ1.
extern const std::array<uint16_t, 256> kGridIq2Xxs;
extern const std::array<uint16_t, 512> kGridIq2Xs;
extern const std::array<uint16_t, 1024> kGridIq2S;
extern const std::array<uint16_t, 2048> kGridIq1;
// Four values an entry, value j is the level (entry >> 4 j) & 7: levels 4, 12, 20, 28, 36, 44, 52, 62 for IQ3_XXS, 1, 3, … 15 for IQ3_S.
extern const std::array<uint16_t, 256> kGridIq3Xxs;
extern const std::array<uint16_t, 512> kGridIq3S;

}  // namespace gs
