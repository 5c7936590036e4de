// Readback for back ends whose memory is the host's: there is nothing to bring.
#pragma once

#include <memory>

#include "engine/ops/ops.h"

namespace gs {

/// Null when there is no memory.
std::unique_ptr<Readback> make_host_readback(Ops& ops, size_t n_floats);

}  // namespace gs
