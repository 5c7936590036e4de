// What the three panels about experts share: which texts are studied, starting the study, and what to show before there is one.
#pragma once

#include "app/views/view.h"
#include "engine/run/expert_study.h"

namespace app {

/// The tool bar: texts, length, Study or Stop, progress. Wraps.
void draw_study_controls(ViewContext& context);
/// The study of the model that is loaded, or null.
std::shared_ptr<const gs::ExpertStudy> study_of(const gs::SessionState& state);
/// Says what is missing and offers to study; true when it drew that instead of the panel's content. needs: what the panel shows.
bool draw_if_no_study(ViewContext& context, const gs::ExpertStudy* study, const char* needs);
/// Reads the texts and asks the session; what cannot be read becomes a message.
void start_study(ViewContext& context);
/// The texts of a choice. Errors: kUsage "no_texts", those of read_text_file() and bundled_text().
gs::Result<gs::StudyRequest> request_of(const StudyChoice& choice);

/// Layer and expert to show when nothing, or only part, is selected: the middle layer, its most used expert.
Pick study_pick(const gs::ExpertStudy& study, const Pick& selected);
/// "expert 5 of 16" with arrows. True when it changed.
bool expert_stepper(const char* id, int n_experts, int& expert);
float expert_stepper_width();

}  // namespace app
