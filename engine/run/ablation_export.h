// An ablation as JSON: the same figures from the command line and from the window.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/run/ablation.h"

namespace gs {

/// Effect, every control, mean and range of the controls, both continuations.
nlohmann::ordered_json ablation_json(const AblationResult& result);

}  // namespace gs
