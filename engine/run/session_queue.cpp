// The command queue, the run thread's loop, and publishing.
#include <algorithm>
#include <exception>
#include <initializer_list>
#include <new>

#include "engine/run/session_impl.h"

namespace gs {
namespace {

using enum CommandKind;

bool is_one_of(CommandKind kind, std::initializer_list<CommandKind> kinds) { return std::find(kinds.begin(), kinds.end(), kind) != kinds.end(); }

/// Takes long, is asked for by a panel, and never runs beside a run: the newest of a kind replaces those before it.
bool is_measurement(CommandKind kind) { return is_one_of(kind, {kSweep, kSensitivity, kSchedule, kStudy, kRouterWords, kAblate, kSideBySide}); }

}  // namespace

bool makes_pointless(CommandKind incoming, CommandKind running) {
    switch (running) {
        case kNone: return is_one_of(incoming, {kRun, kRerun, kStop, kCancel, kLoadTrace, kSwapPinned, kRestartEngine});
        case kLoadModel: return is_one_of(incoming, {kLoadModel, kCancel});
        case kRestartEngine: return is_one_of(incoming, {kLoadModel, kRestartEngine, kCancel});
        case kGates: return is_one_of(incoming, {kGates, kRun, kRerun, kStep1, kLoadModel, kLoadTrace, kSwapPinned, kRestartEngine, kCancel});
        case kCompare:
            return is_one_of(incoming, {kRun, kRerun, kStep1, kLoadModel, kLoadTrace, kSwapPinned, kRestartEngine, kStop, kCancel}) || is_measurement(incoming);
        default:
            return is_measurement(running) && (is_one_of(incoming, {kRun, kRerun, kStep1, kLoadModel, kRestartEngine, kStop, kCancel}) ||
                                               incoming == running || (incoming == kSensitivity && running == kSchedule));
    }
}

bool replaces(CommandKind incoming, CommandKind waiting) {
    switch (incoming) {
        case kCancel: return is_one_of(waiting, {kLoadModel, kLoadTrace, kRun, kRerun, kStep1, kResume, kGates, kCompare}) || is_measurement(waiting);
        case kRun:
        case kRerun: return is_one_of(waiting, {kRun, kRerun, kStep1, kResume, kCompare});
        case kGates:
        case kInspect:
        case kRestartEngine:
        case kLoadModel:
        case kLoadTrace: return waiting == incoming;
        default: return is_measurement(incoming) && waiting == incoming;
    }
}

bool is_quick(CommandKind command, CommandKind running) {
    if (is_one_of(command, {kLoadTrace, kSwapPinned})) return running != kCompare;
    if (command == kGates) return running != kRestartEngine;   // there may be none meanwhile
    return is_one_of(command, {kInspect, kSaveTrace, kExport, kPin, kUnpin, kSetPolicy});
}

Session::Impl::Impl(SessionOptions session_options) : options(std::move(session_options)) {
    m_published = std::make_shared<const SessionState>(m_state);
    m_thread = std::thread([this] { thread_main(); });
}

Session::Impl::~Impl() {
    {
        const std::lock_guard lock(m_queue_mutex);
        m_quit = true;
        cancel_job.set();
        cancel_gates.set();
    }
    m_queue_changed.notify_all();
    m_thread.join();
}

void Session::Impl::push(Command command) {
    {
        const std::lock_guard lock(m_queue_mutex);
        if (makes_pointless(command.kind, m_running)) cancel_job.set();
        if (m_gates_running && makes_pointless(command.kind, kGates)) cancel_gates.set();
        std::erase_if(m_queue, [&](const Command& waiting) { return replaces(command.kind, waiting.kind); });
        // A cancel has done its work when it ends a job; only otherwise it is left for the run itself.
        const bool ends_job = command.kind == kCancel && (is_one_of(m_running, {kLoadModel, kRestartEngine, kGates, kCompare}) || is_measurement(m_running));
        if (!ends_job) m_queue.push_back(std::move(command));
    }
    m_queue_changed.notify_all();
}

std::shared_ptr<const SessionState> Session::Impl::latest() {
    const std::lock_guard lock(m_state_mutex);
    m_wake_pending = false;
    return m_published;
}

std::shared_ptr<const SessionState> Session::Impl::seen() const {
    const std::lock_guard lock(m_state_mutex);
    return m_published;
}

bool Session::Impl::wait_idle(double timeout_seconds) {
    std::unique_lock lock(m_queue_mutex);
    return m_became_idle.wait_for(lock, std::chrono::duration<double>(timeout_seconds), [this] { return m_queue.empty() && !m_busy; });
}

/// The next command, or nothing when a token is to be generated first. Waits when there is neither; flags set for what ran before are cleared
/// under the lock that push() holds, so a cancel never hits the wrong job.
std::optional<Command> Session::Impl::next_command() {
    std::unique_lock lock(m_queue_mutex);
    while (m_queue.empty() && !generating() && !m_quit) {
        lock.unlock();
        if (seen()->activity != Activity::kIdle) begin(Activity::kIdle);
        lock.lock();
        if (!m_queue.empty() || m_quit) break;
        m_busy = false;
        m_running = kNone;
        m_became_idle.notify_all();
        m_queue_changed.wait(lock, [this] { return !m_queue.empty() || m_quit; });
    }
    m_busy = true;
    std::optional<Command> command;
    // Long measurements wait until the run on screen has ended or is paused.
    const bool live = generating();
    const auto next = std::find_if(m_queue.begin(), m_queue.end(), [&](const Command& c) { return !(live && (c.kind == kCompare || is_measurement(c.kind))); });
    if (next != m_queue.end()) {
        command = std::move(*next);
        m_queue.erase(next);
    }
    cancel_job.clear();
    cancel_gates.clear();
    m_running = command ? command->kind : kNone;
    m_gates_running = m_running == kGates;
    return command;
}

void Session::Impl::thread_main() {
    for (;;) {
        const std::optional<Command> command = next_command();
        {
            const std::lock_guard lock(m_queue_mutex);
            if (m_quit) return;
        }
        guarded(command ? &*command : nullptr);
    }
}

/// Nothing that goes wrong in one command may end the program.
void Session::Impl::guarded(const Command* command) {
    try {
        if (command)
            handle(*command);
        else
            generate_one();
    } catch (const std::bad_alloc&) {
        fail({ErrorKind::kRun, "out_of_memory", "There is not enough memory for this", "the system has no more to give",
              "Close other programs, or use a smaller model or text"});
        if (!command) end_generator(StopReason::kFailed);
    } catch (const std::exception& e) {
        fail({ErrorKind::kRun, "unexpected", "Something went wrong", e.what(), ""});
        if (!command) end_generator(StopReason::kFailed);
    }
}

void Session::Impl::keep_up(CommandKind running, double fraction, const std::string& text) {
    for (;;) {
        Command quick;
        {
            const std::lock_guard lock(m_queue_mutex);
            if (m_queue.empty() || !is_quick(m_queue.front().kind, running)) break;
            quick = std::move(m_queue.front());
            m_queue.pop_front();
            cancel_gates.clear();
            m_gates_running = quick.kind == kGates;
        }
        guarded(&quick);
        const std::lock_guard lock(m_queue_mutex);
        m_gates_running = false;
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - m_last_progress < std::chrono::milliseconds(30) && fraction < 1) return;
    m_last_progress = now;
    edit([&](SessionState& s) {
        s.progress = fraction;
        s.progress_text = text;
    });
}

void Session::Impl::begin(Activity activity) {
    edit([&](SessionState& s) {
        m_activity_start = std::chrono::steady_clock::now();
        s.activity = activity;
        s.progress = activity == Activity::kIdle ? 0 : -1;
        s.progress_text.clear();
        s.activity_seconds = 0;
    });
}

Interlude::Interlude(Session::Impl& session, Activity activity) : m_session(session), m_before(session.seen()) {
    m_session.edit([&](SessionState& s) {
        s.activity = activity;
        s.progress = -1;
        s.progress_text.clear();
    });
}

Interlude::~Interlude() {
    m_session.edit([&](SessionState& s) {
        s.activity = m_before->activity;
        s.progress = m_before->progress;
        s.progress_text = m_before->progress_text;
    });
}

void Session::Impl::post(Notice notice) {
    edit([&](SessionState& s) {
        notice.id = m_next_notice++;
        // The same message again replaces the old one instead of piling up.
        std::erase_if(s.notices, [&](const Notice& n) { return n.is_error == notice.is_error && n.error.message() == notice.error.message(); });
        s.notices.push_back(std::move(notice));
    });
}

void Session::Impl::fail(const Error& error) {
    if (error.kind == ErrorKind::kCancelled) return;
    const Result<void> working = decoder ? decoder->check() : Result<void>();
    post({.is_error = true, .error = working || seen()->engine_failed ? error : engine_failure(working.error())});
}

}  // namespace gs
