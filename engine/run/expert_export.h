// A study of experts as JSON and CSV, the same from the window and the command line.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/run/expert_profile.h"
#include "engine/run/router_words.h"

namespace gs {

/// Texts, tokens by domain and word class, information by layer with nulls, divergence between domains, the verdict.
nlohmann::ordered_json specialization_json(const ExpertStudy& study);
/// A line per layer, kind of label, label and expert: tokens, chosen, share, lift, band.
std::string specialization_csv(const ExpertStudy& study);
/// A line per layer and expert: load, importance with expectation and band by chance, most lifted domain and word class.
std::string experts_csv(const ExpertStudy& study);
nlohmann::ordered_json profile_json(const ExpertProfile& profile);
std::string profile_csv(const ExpertProfile& profile);     ///< a line per figure: kind, name, tokens, value, expected, band
nlohmann::ordered_json router_words_json(const RouterWords& words);

/// All E x E shares of one layer with nulls, NaN as null.
nlohmann::ordered_json co_activation_json(const CoActivation& pairs);
std::string co_activation_csv(const CoActivation& pairs);
nlohmann::ordered_json flow_json(const CrossLayerFlow& flow);
std::string flow_csv(const CrossLayerFlow& flow);
nlohmann::ordered_json repetition_json(const Repetition& repetition);
nlohmann::ordered_json id_effect_json(const IdEffect& effect);

}  // namespace gs
