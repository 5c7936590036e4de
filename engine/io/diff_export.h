// A run diff as JSON and CSV: the same figures from the command line and from the window.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/routing/run_diff.h"

namespace gs {

/// Every figure with its null and the number of token pairs behind it; null where a run lacks what it needs. At most `most_flips` flips, the
/// clearest first. a, b: the runs that were compared.
nlohmann::ordered_json run_diff_json(const RunDiff& diff, const TraceSnapshot& a, const TraceSnapshot& b, size_t most_flips = 100);
/// token_a,token_b,id,layer,k_a,k_b,shared,left,entered,margin: a line per flip.
std::string flips_csv(const RunDiff& diff, const TraceSnapshot& a);

}  // namespace gs
