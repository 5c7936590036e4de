// What one network of a stack takes, for the clocks of the back ends.
#pragma once

#include "engine/model/weights.h"

namespace gs {

inline size_t ffn_bytes(const FfnWeights& f) { return f.gate.slab_bytes() + f.up.slab_bytes() + f.down.slab_bytes(); }
/// Multiplications with weights for one token.
inline size_t ffn_products(const FfnWeights& f) { return f.gate.slab_values() + f.up.slab_values() + f.down.slab_values(); }

}  // namespace gs
