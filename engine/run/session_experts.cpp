// The study of experts on labelled texts, and what their routers are tuned to.
#include <algorithm>

#include "engine/run/expert_study.h"
#include "engine/run/router_words.h"
#include "engine/run/session_impl.h"

namespace gs {
namespace {

constexpr int kStudyWindow = 512;
constexpr int kRouterWords = 16;

}  // namespace

void Session::Impl::study_experts(const Command& command) {
    if (!need_engine("A study of experts")) return;
    begin(Activity::kStudying);
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(std::clamp(command.study.max_tokens, 2, kStudyWindow));
    if (!scorer) return fail(scorer.error());
    const auto progress = [&](const std::shared_ptr<const ExpertStudy>& so_far, double fraction, const std::string& what) {
        if (so_far) edit([&](SessionState& s) { s.study = so_far; });
        keep_up(CommandKind::kStudy, fraction, what);
    };
    const auto study = gs::study_experts(**scorer, command.study, progress, &cancel_job);
    if (!study) fail(study.error());
}

void Session::Impl::read_router(const Command& command) {
    if (!model || !model->spec.is_moe()) return;   // the panel says so itself
    begin(Activity::kReadingRouter);
    const Result<RouterWords> words = router_words(*model, command.moe_layer, command.expert, kRouterWords, &cancel_job);
    if (!words) return fail(words.error());
    const auto shared = std::make_shared<const RouterWords>(*words);
    edit([&](SessionState& s) { s.router_words = shared; });
}

}  // namespace gs
