// Code books of the IQ types: small vectors of few levels, chosen by training, that blocks refer to by index. Private to tensor_type*.cpp and to
// ops/cpu/code_books.cpp, which has them in the forms that products look them up in.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gs {

inline constexpr int8_t kLevelsIq2[4] = {8, 25, 43, 0};   // no entry has the fourth
inline constexpr int8_t kLevelsIq3Xxs[8] = {4, 12, 20, 28, 36, 44, 52, 62};
inline constexpr int8_t kLevelsIq3S[8] = {1, 3, 5, 7, 9, 11, 13, 15};

// Eight values an entry, value j is the level (entry >> 2 j) & 3: of kLevelsIq2, or less 1 for IQ1.
extern const std::array<uint16_t, 256> kGridIq2Xxs;
extern const std::array<uint16_t, 512> kGridIq2Xs;
extern const std::array<uint16_t, 1024> kGridIq2S;
extern const std::array<uint16_t, 2048> kGridIq1;
// Four values an entry, value j is the level (entry >> 4 j) & 7.
extern const std::array<uint16_t, 256> kGridIq3Xxs;
extern const std::array<uint16_t, 512> kGridIq3S;

}  // namespace gs
