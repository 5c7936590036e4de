// What a run is asked for and what it answers: plain values shared by the session, the command line and the views.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/decode/sampler.h"
#include "engine/model/model_spec.h"
#include "engine/routing/policy.h"
#include "engine/routing/trace.h"

namespace gs {

/// kChat renders the prompt through the model's chat template (raw if it has none we know); kRaw feeds it as it is.
enum class PromptMode : uint8_t { kChat, kRaw };

struct RunRequest {
    std::string prompt;
    PromptMode mode = PromptMode::kChat;
    int max_new_tokens = 128;
    SamplerSettings sampler;
    Policy policy;
};

enum class RunPhase : uint8_t { kPrefill, kDecoding, kPaused, kFinished };
/// Why a run ended; kNone while it goes on.
enum class StopReason : uint8_t { kNone, kEndOfText, kLength, kStopped, kContextFull, kFailed };
const char* name_of(StopReason reason);           ///< "end of text", "length", "stopped", "context full", "failed", ""

struct RunTimings {
    int prefill_tokens = 0, decode_tokens = 0;
    double prefill_seconds = 0, decode_seconds = 0;
    double prefill_tokens_per_s() const { return prefill_seconds > 0 ? prefill_tokens / prefill_seconds : 0; }
    double decode_tokens_per_s() const { return decode_seconds > 0 ? decode_tokens / decode_seconds : 0; }
};

/// One run, live or finished. Immutable once published; a live run is published anew after every token.
struct RunResult {
    uint64_t id = 0;                              ///< counts runs of a session, never reused
    RunRequest request;                           ///< of a replayed trace: as far as the file tells
    TraceSnapshot trace;
    RunPhase phase = RunPhase::kFinished;
    StopReason stop = StopReason::kNone;
    RunTimings timings;
    int n_prompt_tokens = 0;
    std::string text;                             ///< generated text, special tokens left out
    double bytes_per_token = 0;                   ///< weight bytes a decoded token read, mean over the run
};

/// Weight bytes one token reads when it uses `experts_per_layer` experts in each MoE layer: dense + Σ used · expert_bytes.
double bytes_per_token(const TraceInfo& info, double mean_experts_per_layer);
/// The same for the experts that a trace's tokens used, mean over all of them.
double bytes_per_token(const TraceSnapshot& trace);

/// Identity and sizes of the loaded model, for the window and `info`.
struct ModelCard {
    ModelSpec spec;
    std::string path, hash, chat_format;
    uint64_t file_bytes = 0, kv_bytes = 0, work_bytes = 0;
    uint64_t total_params = 0, active_params = 0, lookup_params = 0, weight_bytes = 0;
    uint64_t dense_bytes_per_token = 0, expert_bytes = 0;
    int n_ctx = 0;
    std::vector<std::string> warnings;
    std::string engine, precision;                ///< "cpu AVX-512 VNNI, 2 threads", "fast"
    std::string drawing;                          ///< how routing gets to the window: Decoder::drawing()
};

}  // namespace gs
