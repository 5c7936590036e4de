// Sweeps, sensitivity maps and schedules as CSV and JSON: the same figures from the command line and from the window.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/run/schedule.h"
#include "engine/run/sweep.h"

namespace gs {

/// A line per k: k,native,tokens_scored,perplexity,perplexity_se,… and layer_error_N for each MoE layer N. _se: standard error of the mean.
std::string sweep_csv(const SweepResult& sweep);
/// Everything: rows with their standard errors, the error of each layer, the text's length, how it was measured.
nlohmann::ordered_json sweep_json(const SweepResult& sweep);

/// A line per layer and k: layer,k,native,kl,perplexity,top1_agreement,bytes_per_token,tokens_scored. Cells without a measurement are left out.
std::string sensitivity_csv(const SensitivityMap& map);
/// The whole map; null where a cell has no measurement yet.
nlohmann::ordered_json sensitivity_json(const SensitivityMap& map);

/// layer,k,base_k: the schedule, a line per MoE layer.
std::string schedule_csv(const SensitivityMap& map, const ScheduleResult& result);
/// Schedule, predicted and verified figures, the uniform k beside it, and every run of the search. spec: of the map's model.
nlohmann::ordered_json schedule_json(const SensitivityMap& map, const ScheduleResult& result, const ModelSpec& spec);

}  // namespace gs
