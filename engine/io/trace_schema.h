// What a trace file holds; private to the writer and the reader.
//
// Metadata key "gatescope", a JSON object:
//   format "gatescope trace", version 1, model {name, file, hash, architecture, family}, reading ("llamacpp" or "reference"; the former in
//   files without it), engine, precision, template, sampler, provenance,
//   router {n_experts, n_used, score, renormalise, norm_floor, norm_epsilon (0), scale, select_by_logits, weigh_input (false), n_groups,
//   n_groups_used, group_score}, in brackets what counts in files without it,
//   source (""), lacks [names of TraceLacks] ([]) and notes [text] ([]) of an imported run,
//   n_layers, moe_layers [M], shared_expert, dense_bytes_per_token, expert_bytes, policies [text], filler, tensors {name: what it is}
//
// Tensors: T tokens, M MoE layers, E experts, K the most experts that any token uses in any layer.
//   token_ids I32 [T], phases U8 [T] (0 prefill, 1 decode), special U8 [T], policy I32 [T] (index into policies), logprob F32 [T], entropy
//   F32 [T] (nats; NaN for the first token), text U8 [bytes] and text_ends I64 [T] (token t is text[text_ends[t-1]:text_ends[t]]), prompt
//   U8 [bytes], router_logits F32 [T, M, E], preference F32 [T, M, E], selection F32 [T, M, E] (-inf where masked or outside the kept
//   groups), expert_ids U16 [T, M, K] and weights F32 [T, M, K] (65535 and 0 beyond n_used), n_used U16 [T, M], margin F32 [T, M],
//   selection_bias F32 [M, E] (only if the model has one)
// Of a run that lacks "logits" there are no router_logits, preference, selection and margin; of one that lacks "weights" no weights.
// preference, selection and margin follow from the rest: they are there for readers in other languages and are not read back.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/routing/router.h"
#include "engine/routing/trace.h"

namespace gs::trace_schema {

inline constexpr const char* kKey = "gatescope";
inline constexpr const char* kFormat = "gatescope trace";
inline constexpr int kVersion = 1;
inline constexpr uint16_t kFiller = 65535;

// In the order of the enumerations.
inline constexpr std::array<const char*, 5> kScores = {"softmax", "sigmoid", "softmax_after_topk", "sqrt_softplus", "sparse_mixer"};
inline constexpr std::array<const char*, 2> kGroupScores = {"top2sum", "max"};
inline constexpr std::array<const char*, 5> kLacks = {"logits", "weights", "token_ids", "text", "phases"};
inline constexpr std::array<bool TraceLacks::*, 5> kLacksMembers = {&TraceLacks::logits, &TraceLacks::weights, &TraceLacks::token_ids, &TraceLacks::text, &TraceLacks::phases};

template <class E, size_t N>
std::optional<E> named(const std::array<const char*, N>& names, std::string_view name) {
    for (size_t i = 0; i < N; ++i) {
        if (name == names[i]) return static_cast<E>(i);
    }
    return std::nullopt;
}

}  // namespace gs::trace_schema
