// The session: owns the model and the back end on one run thread. Commands go in from any thread and return at once; an immutable state
// comes out of latest(). Views read the state and send commands; nothing else is shared.
//
//   Session session({.wake = [] { glfwPostEmptyEvent(); }});
//   session.load_model(path);
//   session.run(request);
//   auto state = session.latest();            // every frame
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/routing/run_diff.h"
#include "engine/run/ablation.h"
#include "engine/run/evaluate.h"
#include "engine/run/gates.h"
#include "engine/run/run_types.h"
#include "engine/run/schedule.h"
#include "engine/run/sensitivity.h"
#include "engine/run/side_by_side.h"
#include "engine/run/start_engine.h"
#include "engine/run/study_request.h"
#include "engine/run/sweep.h"

namespace gs {

struct ExpertStudy;                                ///< expert_study.h
struct RouterWords;                                ///< router_words.h

enum class Activity : uint8_t {
    kIdle, kLoadingModel, kLoadingTrace, kRunning, kGates, kComparing, kSweeping, kMapping, kScheduling, kStartingEngine,
    kStudying, kReadingRouter, kAblating, kSideBySide
};
const char* name_of(Activity activity);            ///< for the status line: "idle", "loading model", …

/// A message for the user; stays until dismissed.
struct Notice {
    uint64_t id = 0;
    bool is_error = true;                          ///< false: a warning or a piece of news
    Error error;
};

/// Everything the window shows. Immutable; parts are shared between successive states.
struct SessionState {
    uint64_t revision = 0;
    Activity activity = Activity::kIdle;
    double progress = 0;                           ///< 0..1 of the activity; < 0 unknown
    std::string progress_text;                     ///< "312 of 804 MB"
    double activity_seconds = 0;                   ///< since it began
    std::shared_ptr<const ModelCard> model;        ///< null before a model is loaded (a replayed trace needs none)
    std::shared_ptr<const RunResult> run;          ///< on screen; null only before anything was loaded
    std::shared_ptr<const RunResult> previous;     ///< the run before it with the same prompt, for old beside new; or null
    std::shared_ptr<const RunResult> pinned;       ///< A of the run diff, kept whatever is loaded or run; or null
    std::shared_ptr<const RunDiff> diff;           ///< of the baseline() (A) and `run` (B); lags behind a run that is going on; or null
    std::shared_ptr<const PolicyComparison> comparison;   ///< previous (A) against run (B); null until computed
    std::shared_ptr<const GateComparison> gates;   ///< newest answer to request_gates
    std::shared_ptr<const SweepResult> sweep;      ///< fills in while it is measured; complete at the end, what there was when it was cancelled
    std::shared_ptr<const SensitivityMap> sensitivity;    ///< fills in while it is measured; complete at the end
    std::shared_ptr<const ScheduleResult> schedule;       ///< newest answer to request_schedule, of `sensitivity`
    std::shared_ptr<const ExpertStudy> study;      ///< grows text by text while it is made; complete at the end
    std::shared_ptr<const RouterWords> router_words;      ///< newest answer to request_router_words
    std::shared_ptr<const AblationResult> ablation;       ///< newest answer to request_ablation; fills in while it is measured
    std::shared_ptr<const SideBySide> side_by_side;       ///< newest answer to request_side_by_side; likewise
    std::optional<std::pair<std::filesystem::path, ModelEstimate>> estimate;   ///< answer to inspect_model, until loaded or dismissed
    Policy policy;                                 ///< in force for the next token
    std::vector<Notice> notices;
    bool engine_failed = false;                    ///< nothing can be computed before restart_engine(); what is on screen stays
    bool can_run() const { return model != nullptr; }
    /// What the run on screen is compared with: the pinned run, else the one before.
    const std::shared_ptr<const RunResult>& baseline() const { return pinned ? pinned : previous; }
};

struct SessionOptions {
    std::function<void()> wake;                    ///< latest() has something new; from the run thread, or from inside notify() and dismiss_…(). At most once until latest() is called
    EngineRequest engine;
    Reading reading = Reading::kLlamaCpp;          ///< of the models that are loaded
};

class Session {
public:
    explicit Session(SessionOptions options);
    ~Session();                                    ///< cancels and joins

    std::shared_ptr<const SessionState> latest() const;

    // Commands. Order is kept; a running computation is cancelled where the newer command makes it pointless (newest wins).
    void inspect_model(const std::filesystem::path& path);        ///< header only; fills SessionState::estimate or a notice
    void load_model(const std::filesystem::path& path);           ///< what is on screen stays until the new model is there
    void load_trace(const std::filesystem::path& path);           ///< own trace files and those that importers() name
    void save_trace(const std::filesystem::path& path);           ///< of the run on screen; result as a notice
    /// The run on screen into a file by the caller's own writer, called on the run thread; result as a notice.
    using RunWriter = std::function<Result<void>(const TraceSnapshot&, const std::filesystem::path&)>;
    void export_run(const std::filesystem::path& path, RunWriter writer);
    void pin_run();                                               ///< the run on screen becomes A
    void unpin();
    void swap_pinned();                                           ///< A onto the screen and what is there to A; a run going on is stopped
    void run(const RunRequest& request);                          ///< stops the run before it
    /// Runs the last request again under another policy and compares the two (text, KL, agreement): what dragging k ends in.
    void rerun_and_compare(const Policy& policy);
    void step(const RunRequest& request);                         ///< one token: starts paused if nothing is paused, else continues by one
    void resume();                                                ///< goes on after a step
    void stop();
    void set_policy(const Policy& policy);                        ///< between two tokens of a running run, and for later ones
    void request_gates(int token, int moe_layer);                 ///< of the run on screen; newest request wins
    void request_sweep(const SweepRequest& request);
    /// Starts the engine anew for the model that is loaded, after a device was lost or had no more memory; then with fewer layers there.
    void restart_engine();
    void request_sensitivity(const SensitivityRequest& request);
    /// Of the map in the state; newest request wins. With ks, [M] of the map's, that schedule is run instead of a search for one.
    void request_schedule(const Budget& budget, std::vector<int> ks = {});
    void request_expert_study(const StudyRequest& request);       ///< newest request wins; what there is so far is shown text by text
    void request_router_words(int moe_layer, int expert);         ///< of the model that is loaded; newest request wins
    void request_ablation(const AblationRequest& request);        ///< newest request wins
    void request_side_by_side(const SideRequest& request);        ///< loads the other model for as long as it takes; newest request wins
    void cancel();                                                ///< whatever is going on: load, sweep, comparison
    void dismiss_estimate();
    void dismiss_notice(uint64_t id);
    void notify(Notice notice);                                   ///< a message of the window's own, shown like the others

    /// Blocks until idle with an empty queue, for tests and headless screenshots. False after the timeout.
    bool wait_idle(double timeout_seconds) const;

    struct Impl;                                                  ///< session_impl.h; internal to engine/run

private:
    std::unique_ptr<Impl> m_impl;
};

}  // namespace gs
