// Every operation of a back end against the reference on random data, without a test framework: what `gatescope selftest` runs where only the
// program is, on a device above all.
#pragma once

#include <string>
#include <vector>

#include "engine/ops/ops.h"

namespace gs {

struct OpsCheck {
    std::string name;                  ///< "linear q4_K, 20 tokens"
    bool pass = false;
    double worst = 0;                  ///< largest difference, as a share of what rounding may do
};

/// Some hundred shapes; seconds. Keys and values are kept as the back end keeps them, for both.
std::vector<OpsCheck> check_ops(Ops& ops);

}  // namespace gs
