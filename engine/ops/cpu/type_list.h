// The quantized types that products are written for, and the way from a type known at run time to one known when compiling.
#pragma once

#include "engine/core/check.h"
#include "engine/model/tensor_type.h"

namespace gs::cpu {

template <TensorType... kTypes>
struct TypeList {
    /// Calls f.template operator()<type>() if the type is in the list; whether it is.
    template <class F>
    static bool visit(TensorType type, const F& f) {
        return ((type == kTypes ? (f.template operator()<kTypes>(), true) : false) || ...);
    }
};

/// Blocks of 32.
using SmallTypes = TypeList<TensorType::kQ4_0, TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ8_0, TensorType::kIQ4_NL,
                            TensorType::kMXFP4>;
/// More values a block.
using SuperTypes = TypeList<TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kIQ4_XS,
                            TensorType::kIQ1_S, TensorType::kIQ1_M, TensorType::kIQ2_XXS, TensorType::kIQ2_XS, TensorType::kIQ2_S, TensorType::kIQ3_XXS,
                            TensorType::kIQ3_S, TensorType::kTQ1_0, TensorType::kTQ2_0, TensorType::kQ1_0, TensorType::kQ2_0, TensorType::kNVFP4>;

/// Calls f.template operator()<type>() for a type of blocks of 32.
template <class F>
void for_small(TensorType type, const F& f) {
    GS_CHECK(SmallTypes::visit(type, f), "not a type of blocks of 32 with a product");
}
template <class F>
void for_super(TensorType type, const F& f) {
    GS_CHECK(SuperTypes::visit(type, f), "not a quantized type of more than 32 values a block");
}
template <class F>
void for_quantized(TensorType type, const F& f) {
    GS_CHECK(SmallTypes::visit(type, f) || SuperTypes::visit(type, f), "not a quantized type");
}

}  // namespace gs::cpu
