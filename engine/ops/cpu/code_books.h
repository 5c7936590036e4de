// Code books of the IQ types (model/tensor_type_grids.h) in the forms that products look them up in.
//
// `bytes`: the values of an entry one byte each, as they go; of IQ1 eight times as large, to be shifted by an eighth. `words`: the levels alone, in
// two bytes, in the order in which 16-bit shifts spread them: right by 2 j (of four values: 4 j), the lowest bits of both bytes are levels 2 j and
// 2 j + 1. `raised`: what a level stands for, 128 up.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/model/tensor_type.h"

namespace gs::cpu {

template <size_t kEntries, class Entry>
struct CodeBookTables {
    std::array<Entry, kEntries> bytes;
    alignas(64) std::array<uint16_t, kEntries> words;
    alignas(16) std::array<uint8_t, 16> raised;
};
using CodeBookIq2Xxs = CodeBookTables<256, uint64_t>;
using CodeBookIq2Xs = CodeBookTables<512, uint64_t>;
using CodeBookIq2S = CodeBookTables<1024, uint64_t>;
using CodeBookIq1 = CodeBookTables<2048, uint64_t>;
using CodeBookIq3Xxs = CodeBookTables<256, uint32_t>;
using CodeBookIq3S = CodeBookTables<512, uint32_t>;
extern const CodeBookIq2Xxs kBookIq2Xxs;
extern const CodeBookIq2Xs kBookIq2Xs;
extern const CodeBookIq2S kBookIq2S;
extern const CodeBookIq1 kBookIq1;
extern const CodeBookIq3Xxs kBookIq3Xxs;
extern const CodeBookIq3S kBookIq3S;

template <TensorType kType>
constexpr const auto& code_book() {
    if constexpr (kType == TensorType::kIQ2_XXS) return kBookIq2Xxs;
    else if constexpr (kType == TensorType::kIQ2_XS) return kBookIq2Xs;
    else if constexpr (kType == TensorType::kIQ2_S) return kBookIq2S;
    else if constexpr (kType == TensorType::kIQ3_XXS) return kBookIq3Xxs;
    else if constexpr (kType == TensorType::kIQ3_S) return kBookIq3S;
    else return kBookIq1;
}

constexpr bool is_by_code_book(TensorType type) {
    return type == TensorType::kIQ2_XXS || type == TensorType::kIQ2_XS || type == TensorType::kIQ2_S || type == TensorType::kIQ3_XXS ||
           type == TensorType::kIQ3_S || type == TensorType::kIQ1_S || type == TensorType::kIQ1_M;
}

}  // namespace gs::cpu
