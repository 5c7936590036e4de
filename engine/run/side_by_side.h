// Two models on the same prompt and the same text: an MoE beside a dense model, its own dense parent above all.
//
//   GS_TRY(SideBySide s, run_side_by_side(*moe, *dense, {.run = request, .text = text}, {}));
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "engine/decode/decoder.h"
#include "engine/run/run_types.h"

namespace gs {

struct SideRequest {
    std::filesystem::path other;                 ///< model B (a session's)
    RunRequest run;                              ///< both answer it; its policy is the first model's, the other's is native
    std::string text, text_name;                 ///< scored by both, teacher-forced; none where it is empty
    int max_tokens = 512;                        ///< of the text
};

struct SideModel {
    ModelCard card;
    std::string answer;
    int n_prompt_tokens = 0;
    RunTimings timings;                          ///< of this machine, now
    double bytes_per_token = 0;                  ///< weight bytes a decoded token read, mean over the answer
    int n_scored = 0;                            ///< tokens of the text that were predicted; 0: not measured
    double perplexity = 0;                       ///< per token: comparable only where both cut text into the same tokens
    double bits_per_byte = 0;                    ///< of the text: comparable always
};

struct SideBySide {
    SideModel a, b;
    bool same_tokens = false;                    ///< same vocabulary, and prompt and text cut in the same way
    std::string tokens_note;                     ///< what differs; empty where nothing does
    std::string prompt, text_name, sampler;
    bool complete = false;
};

using SideProgress = std::function<void(const SideBySide& so_far, double fraction)>;

/// Runs one model after the other, so that neither takes the other's processors or memory bandwidth. Overwrites both decoders' caches, policies, sinks and
/// logit functions. Errors: those of Generator and Decoder; kInput "text_too_short".
Result<SideBySide> run_side_by_side(Decoder& a, Decoder& b, const SideRequest& request, const SideProgress& progress = {}, const CancelFlag* cancel = nullptr);

/// What is different about how two models cut `sample` into tokens; empty where they have the same vocabulary and ids.
std::string compare_tokenizers(const Model& a, const Model& b, const std::string& sample);

}  // namespace gs
