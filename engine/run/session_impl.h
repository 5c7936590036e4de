// Internal to engine/run: the session's run thread and what it owns. Which thread may touch what is said at each block.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "engine/core/cancel.h"
#include "engine/run/generator.h"
#include "engine/run/session.h"

namespace gs {

/// Positions at a time of a text that is measured, each window from an empty cache.
inline constexpr int kWindow = 512;

/// What the run thread can be asked for. kStep1: one token; kCompare: put in by the run thread itself when a rerun has ended.
enum class CommandKind : uint8_t {
    kNone, kInspect, kLoadModel, kLoadTrace, kSaveTrace, kExport, kPin, kUnpin, kSwapPinned, kRun, kRerun, kStep1, kResume, kStop, kSetPolicy, kGates,
    kSweep, kSensitivity, kSchedule, kRestartEngine, kCancel, kCompare, kStudy, kRouterWords, kAblate, kSideBySide
};

struct Command {
    CommandKind kind = CommandKind::kNone;
    std::filesystem::path path;
    RunRequest request;
    Policy policy;
    int token = 0, moe_layer = 0, expert = 0;
    SweepRequest sweep;
    SensitivityRequest sensitivity;
    Budget budget;
    std::vector<int> ks = {};
    StudyRequest study = {};
    AblationRequest ablation = {};
    SideRequest side = {};
    Session::RunWriter writer = {};
};

/// True when `running` is pointless once `incoming` has been asked for: it is cancelled. kNone stands for a token being generated.
bool makes_pointless(CommandKind incoming, CommandKind running);
/// True when `incoming` replaces a queued `waiting` one.
bool replaces(CommandKind incoming, CommandKind waiting);
/// True when `command` may be answered in the middle of `running`, a long job.
bool is_quick(CommandKind command, CommandKind running);
/// True of notices that another start of the engine makes void.
bool is_about_engine(const Notice& notice);

struct Session::Impl {
    explicit Impl(SessionOptions session_options);
    ~Impl();

    // --- Any thread ---
    const SessionOptions options;
    void push(Command command);
    /// Changes the state under its lock and publishes it; wakes the window unless it has been woken already.
    template <class F>
    void edit(F change);
    void post(Notice notice);
    std::shared_ptr<const SessionState> latest();
    /// latest() without the promise of a new wake.
    std::shared_ptr<const SessionState> seen() const;
    bool wait_idle(double timeout_seconds);

    // --- Run thread only ---
    std::shared_ptr<const Model> model;
    std::unique_ptr<Decoder> decoder;            ///< null without a model, and after an engine that could not be started
    int n_on_device = 0;                         ///< of the model's layers
    int most_gpu_layers = INT_MAX;               ///< fewer than the device had no memory for
    std::unique_ptr<Generator> generator;        ///< of the run on screen; null when that is a replayed one
    bool paused = false;
    int steps_left = 0;                          ///< tokens to generate although paused
    std::optional<RunRequest> last_request;
    std::shared_ptr<const RunResult> compare_with;   ///< baseline of the rerun going on
    uint64_t next_sweep_id = 1;
    uint64_t next_run_id = 1, rerun_id = 0;      ///< rerun_id: the newest run that rerun_and_compare started
    uint64_t cached_run = 0;                     ///< run whose tokens the decoder's cache holds, and how many
    int cached_tokens = 0;
    std::chrono::steady_clock::time_point diff_end;  ///< of the newest comparison with the baseline
    std::chrono::steady_clock::duration diff_time{}; ///< what it took

    void thread_main();
    void handle(const Command& command);
    bool generating() const { return generator && !generator->done() && (!paused || steps_left > 0); }
    void generate_one();
    void publish_run();
    void end_generator(StopReason reason);

    KvType kv_type() const;
    void inspect_model(const Command& command);
    void load_model(const Command& command);
    /// With the engine started for it.
    void adopt_model(std::shared_ptr<const Model> loaded, const std::string& remark);
    /// For `of`, in place of the one that there is. What there is to remark, or nothing, with a notice, when it cannot be started.
    std::optional<std::string> start_engine(const std::shared_ptr<const Model>& of);
    /// The engine in the state: `change` is made together with it.
    template <class F>
    void show_engine(const std::string& remark, F change);
    void restart_engine();
    /// Gives back what the engine holds, on a device above all.
    void release_engine();
    void load_trace(const Command& command);
    void save_trace(const Command& command);
    void export_run(const Command& command);
    /// Ends the run on screen and shows another that nothing generates.
    void show_run(const std::shared_ptr<const RunResult>& run);
    void pin();
    void unpin();
    void swap_pinned();
    /// Compares the run on screen with its baseline; while it is going on only now and then, so that it stays a small part of the time.
    void refresh_diff();
    bool start_run(const RunRequest& request);
    void run(const Command& command);
    void rerun(const Command& command);
    void step(const Command& command);
    void set_policy(const Command& command);
    void answer_gates(const Command& command);
    void sweep(const Command& command);
    void map_sensitivity(const Command& command);
    void schedule(const Command& command);
    void study_experts(const Command& command);
    void read_router(const Command& command);
    void ablate(const Command& command);
    void side_by_side(const Command& command);
    void compare();

    /// The first tokens of a text to be scored, BOS as the file asks. n_tokens: how many there are in all; may be null.
    std::vector<int32_t> text_to_score(const std::string& text, int max_tokens, int* n_tokens = nullptr);
    /// A decoder with a short context of its own, so that measuring leaves the run's cache alone.
    Result<std::unique_ptr<Decoder>> make_scorer(int n_ctx);
    /// Ready to compute; else says why not.
    bool need_engine(const char* what);
    /// The engine cannot go on: says what helps.
    Error engine_failure(const Error& error);
    void begin(Activity activity);
    /// Publishes progress at most every 30 ms and answers quick commands; called from inside long jobs.
    void keep_up(CommandKind running, double fraction, const std::string& text);
    void fail(const Error& error);

    CancelFlag cancel_job, cancel_gates;         ///< set from any thread under m_queue_mutex, polled by the run thread

private:
    std::optional<Command> next_command();
    void guarded(const Command* command);

    mutable std::mutex m_state_mutex;
    SessionState m_state;
    std::shared_ptr<const SessionState> m_published;
    bool m_wake_pending = false;
    uint64_t m_next_notice = 1;

    mutable std::mutex m_queue_mutex;
    std::condition_variable m_queue_changed, m_became_idle;
    std::deque<Command> m_queue;
    CommandKind m_running = CommandKind::kNone;
    bool m_gates_running = false, m_busy = false, m_quit = false;

    std::chrono::steady_clock::time_point m_activity_start;   ///< under m_state_mutex
    std::chrono::steady_clock::time_point m_last_progress;    ///< run thread only
    std::thread m_thread;                        ///< last: it uses all the others
};

template <class F>
void Session::Impl::edit(F change) {
    bool wake = false;
    {
        const std::lock_guard lock(m_state_mutex);
        change(m_state);
        ++m_state.revision;
        if (m_state.activity != Activity::kIdle)
            m_state.activity_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - m_activity_start).count();
        m_published = std::make_shared<const SessionState>(m_state);
        wake = !std::exchange(m_wake_pending, true);
    }
    if (wake && options.wake) options.wake();
}

template <class F>
void Session::Impl::show_engine(const std::string& remark, F change) {
    const auto card = std::make_shared<const ModelCard>(make_model_card(*decoder));
    edit([&](SessionState& s) {
        s.model = card;
        s.engine_failed = false;
        std::erase_if(s.notices, is_about_engine);
        change(s);
    });
    const char* what = n_on_device > 0 ? "The model is on the device in part" : "CUDA is not in use";
    if (!remark.empty()) post({.is_error = false, .error = {ErrorKind::kDevice, "engine", what, remark, ""}});
}

/// Shows another activity for the length of a scope, inside a longer one that goes on afterwards.
class Interlude {
public:
    Interlude(Session::Impl& session, Activity activity);
    ~Interlude();
    Interlude(const Interlude&) = delete;
    Interlude& operator=(const Interlude&) = delete;

private:
    Session::Impl& m_session;
    std::shared_ptr<const SessionState> m_before;
};

/// RunResult of a replayed trace: text, prompt length and request as far as the file tells.
RunResult replayed_run(const TraceSnapshot& trace, uint64_t id);

}  // namespace gs
