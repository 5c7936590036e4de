// What tests of the session share: a session whose every publication can be waited for, and requests.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "engine/run/session.h"
#include "tests/decode/decoder_fixture.h"

namespace gs::test {

using State = std::shared_ptr<const SessionState>;

inline constexpr double kPatience = 120;

inline std::filesystem::path model_file(const char* name) { return golden(std::string("models/") + name + "/model.gguf"); }

inline RunRequest request(const std::string& prompt, int n = 8, const std::string& policy_text = "native") {
    return {.prompt = prompt, .mode = PromptMode::kRaw, .max_new_tokens = n, .sampler = {.temperature = 0}, .policy = policy(policy_text)};
}

/// A session whose every publication can be waited for.
class Watched {
public:
    explicit Watched(bool reference = false)
        : session({.wake = [this] {
                       if (m_look) m_look();
                       const std::lock_guard lock(m_mutex);
                       ++n_wakes;
                       m_changed.notify_all();
                   },
                   .engine = {.kind = reference ? EngineKind::kReference : EngineKind::kCpu, .ops = {.n_threads = 2, .precision = Precision::kExact}}}) {}

    State idle() {
        EXPECT_TRUE(session.wait_idle(kPatience));
        return session.latest();
    }
    /// The first state that fits; null after a long time.
    template <class F>
    State until(F fits) {
        for (;;) {
            std::unique_lock lock(m_mutex);
            const int before = n_wakes;
            lock.unlock();
            const State state = session.latest();
            if (fits(*state)) return state;
            lock.lock();
            if (!m_changed.wait_for(lock, std::chrono::duration<double>(kPatience), [&] { return n_wakes != before; })) return nullptr;
        }
    }
    /// Lets `act` give work to the idle session; the first state that fits, and be it there for a moment only: the thread that publishes looks itself.
    template <class A, class F>
    State first_while(A act, F fits) {
        State first;
        m_look = [&] {
            const State state = session.latest();
            if (!first && fits(*state)) first = state;
        };
        act();
        EXPECT_TRUE(session.wait_idle(kPatience));
        m_look = nullptr;
        return first;
    }
    State loaded(const char* name) {
        session.load_model(model_file(name));
        return idle();
    }

private:
    std::mutex m_mutex;
    std::condition_variable m_changed;
    std::function<void()> m_look;

public:
    int n_wakes = 0;
    Session session;       // last: its thread uses the others
};

inline bool has_notice(const SessionState& state, const std::string& code) {
    return std::any_of(state.notices.begin(), state.notices.end(), [&](const Notice& n) { return n.error.code == code; });
}

}  // namespace gs::test
