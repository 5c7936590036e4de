// One run, token by token, without threads: the command line drives it in a loop, the session from its run thread.
//
//   GS_TRY(auto gen, Generator::start(decoder, request, 1, &cancel));
//   while (!gen->done()) { GS_TRY_VOID(gen->step(&cancel)); show(gen->result()); }
#pragma once

#include <memory>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/decode/decoder.h"
#include "engine/run/run_types.h"

namespace gs {

class Generator {
public:
    /// Tokenizes and checks; nothing is computed yet. capture: record the trace (off only for measuring its cost).
    /// Errors: kUsage "empty_prompt", "bad_policy"; kInput "prompt_too_long" with both lengths.
    static Result<std::unique_ptr<Generator>> start(Decoder& decoder, const RunRequest& request, uint64_t run_id, bool capture = true);
    ~Generator();

    /// The first call(s) prefill, one batch a call; then one sampled token a call. After an error the rows so far stay in result().
    Result<void> step(const CancelFlag* cancel = nullptr);
    bool done() const;
    /// Between two steps; from the next token on.
    Result<void> set_policy(const Policy& policy);
    void stop(StopReason reason);
    void set_paused(bool paused);                 ///< only what result().phase says
    /// As of now; cheap (shares the trace).
    RunResult result() const;
    /// Positions held by the decoder's cache for this run.
    int cached_tokens() const;

private:
    struct Impl;
    explicit Generator(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> m_impl;
};

/// Identity part of a trace for a run of this model.
TraceInfo make_trace_info(const Decoder& decoder, const RunRequest& request, const std::string& template_name);
ModelCard make_model_card(const Decoder& decoder);

}  // namespace gs
