// What a text loses: the sweep over k, the sensitivity map and schedules made from it.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "engine/run/session_impl.h"

namespace gs {
namespace {

constexpr int kTimedTokens = 16;

/// Between two publications of a sweep that only refine what is on screen.
constexpr std::chrono::milliseconds kBetweenPublications{100};

int context_of(size_t n_ids) { return std::min(kWindow, static_cast<int>(std::max<size_t>(n_ids, 1))); }

}  // namespace

std::vector<int32_t> Session::Impl::text_to_score(const std::string& text, int max_tokens, int* n_tokens) {
    std::vector<int32_t> ids = model->tokenizer->encode(text, SpecialTokens::kAsText);
    model->tokenizer->add_bos(ids);
    if (n_tokens) *n_tokens = static_cast<int>(ids.size());
    if (ids.size() > static_cast<size_t>(max_tokens)) ids.resize(static_cast<size_t>(max_tokens));
    return ids;
}

void Session::Impl::sweep(const Command& command) {
    if (!need_engine("A sweep")) return;
    begin(Activity::kSweeping);
    const SweepRequest& wanted = command.sweep;
    int n_text_tokens = 0;
    const std::vector<int32_t> ids = text_to_score(wanted.text, wanted.max_tokens, &n_text_tokens);
    SweepPlan plan = wanted.plan;
    plan.options.window = kWindow;
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(context_of(ids.size()));
    if (!scorer) return fail(scorer.error());
    const uint64_t id = next_sweep_id++;
    const auto publish = [&](const SweepResult& result) {
        const auto shared = std::make_shared<SweepResult>(result);
        shared->id = id;
        shared->text_name = wanted.text_name;
        shared->n_text_tokens = n_text_tokens;
        edit([&](SessionState& s) { s.sweep = shared; });
    };
    SweepResult newest;
    std::chrono::steady_clock::time_point published;
    const auto progress = [&](const SweepResult& so_far, double fraction) {
        const auto now = std::chrono::steady_clock::now();
        const bool is_new = so_far.complete || newest.plan.ks.empty() || so_far.rows.size() != newest.rows.size();
        if (is_new || now - published > kBetweenPublications) {
            publish(so_far);
            published = now;
        }
        newest = so_far;
        keep_up(CommandKind::kSweep, fraction, fmt::format("{:.0f} %", 100 * fraction));
    };
    const auto swept = measure_sweep(**scorer, ids, plan, progress, &cancel_job);
    if (swept) return;
    if (!newest.rows.empty()) publish(newest);   // what there is stays
    fail(swept.error());
}

void Session::Impl::map_sensitivity(const Command& command) {
    if (!need_engine("A sensitivity map")) return;
    begin(Activity::kMapping);
    const SensitivityRequest& wanted = command.sensitivity;
    const std::vector<int32_t> ids = text_to_score(wanted.text, wanted.max_tokens);
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(context_of(ids.size()));
    if (!scorer) return fail(scorer.error());
    int n_cells = -1;
    size_t n_uniform = 0;
    const auto progress = [&](const SensitivityMap& so_far, double fraction) {
        if (so_far.n_cells_done != n_cells || so_far.uniform.size() != n_uniform || so_far.complete) {
            const auto shared = std::make_shared<SensitivityMap>(so_far);
            shared->text_name = wanted.text_name;
            edit([&](SessionState& s) {
                s.sensitivity = shared;
                s.schedule.reset();
            });
        }
        n_cells = so_far.n_cells_done;
        n_uniform = so_far.uniform.size();
        keep_up(CommandKind::kSensitivity, fraction, fmt::format("{} of {} cells", std::max(n_cells, 0), so_far.cells.size()));
    };
    const auto map = measure_sensitivity(**scorer, ids, wanted.base, wanted.ks, {.window = kWindow}, progress, &cancel_job);
    if (!map) fail(map.error());
}

void Session::Impl::schedule(const Command& command) {
    if (!need_engine("A schedule")) return;
    const std::shared_ptr<const SensitivityMap> map = seen()->sensitivity;
    if (!map)
        return fail({ErrorKind::kUsage, "map_incomplete", "There is no schedule yet", "no sensitivity map has been measured", "Measure it first"});
    begin(Activity::kScheduling);
    Result<std::unique_ptr<Decoder>> scorer = make_scorer(context_of(map->ids.size()));
    if (!scorer) return fail(scorer.error());
    const auto progress = [&](int n_runs, double fraction) {
        keep_up(CommandKind::kSchedule, fraction, fmt::format("run {}: {:.0f} %", n_runs + 1, 100 * fraction));
    };
    const Result<ScheduleResult> found = command.ks.empty()
                                             ? find_schedule(**scorer, *map, command.budget, kTimedTokens, progress, &cancel_job)
                                             : check_schedule(**scorer, *map, command.budget, command.ks, kTimedTokens, progress, &cancel_job);
    if (!found) return fail(found.error());
    const auto shared = std::make_shared<const ScheduleResult>(*found);
    edit([&](SessionState& s) { s.schedule = shared; });
}

}  // namespace gs
