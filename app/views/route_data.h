// The numbers behind the pictures: preference, selection score and applied weight of every expert, and one-number summaries of a token's route.
// Plain functions of a trace; nothing here draws.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "app/views/view.h"
#include "engine/routing/what_if.h"

namespace app {

inline constexpr float kNoValue = std::numeric_limits<float>::quiet_NaN();

/// One number per (token, MoE layer).
enum class RouteScalar : uint8_t { kTopWeight, kEntropy, kMargin };

/// What is known of one (token, MoE layer, expert).
struct ExpertFacts {
    float logit = kNoValue, preference = kNoValue;
    float selection = kNoValue;            ///< -inf: masked, or outside the groups that may be chosen
    float weight = kNoValue;               ///< applied weight; NaN = not chosen
    int preference_rank = 0;               ///< 0 = unknown; 1 = largest preference; ties: lower expert first
    int slot = -1;                         ///< position among the chosen, best first; -1 = not chosen
    int k = 0;                             ///< experts this token uses at this layer
    double weight_sum = 0;                 ///< Σ applied weights of the token at this layer
};

/// Tells an appended trace from another one, by identity of its rows. Holds the last trace, so that its addresses stay its own.
class TraceFollower {
public:
    /// Returns the first token that is new: n_tokens if nothing is, 0 if it is another trace (then generation() has changed).
    int update(const gs::TraceSnapshot& trace);
    uint64_t generation() const { return m_generation; }
    const gs::TraceSnapshot& trace() const { return m_trace; }

private:
    gs::TraceSnapshot m_trace;
    uint64_t m_generation = 0;
};

/// Reads routes with the policy each token was routed under; keeps scratch space and resolved policies between calls.
class RouteReader {
public:
    /// Cheap when it is the trace of before or a longer one.
    void set_trace(const gs::TraceSnapshot& trace);
    const gs::TraceSnapshot& trace() const { return m_follower.trace(); }

    /// out: [E]. NaN: not chosen (applied weight), masked or outside the kept groups (selection score), or not in the recorded run. Without weights a
    /// chosen expert counts 1.
    void column(Quantity quantity, int moe_layer, int token, std::span<float> out);
    /// kTopWeight: largest applied weight. kEntropy: of the preference, nats. kMargin: worst chosen minus best rejected logit, NaN if all are chosen.
    float scalar(RouteScalar what, int moe_layer, int token);
    ExpertFacts facts(int moe_layer, int token, int expert);
    /// The policy in force for that token at that layer.
    const gs::LayerPolicy& policy(int moe_layer, int token);

private:
    TraceFollower m_follower;
    std::vector<std::vector<gs::LayerPolicy>> m_policies;   ///< [policy index][MoE layer], made on first use
    gs::RouteRow m_row;
    std::vector<float> m_scratch;
};

/// Text of a token, short; its id or its place where a recorded run holds none.
std::string token_label(const gs::TraceSnapshot& trace, int token, int max_chars);
/// What to say where a recorded run does not hold a quantity; null if it does.
const char* what_is_lacking(const gs::TraceSnapshot& trace, Quantity quantity);

const char* name_of(Quantity quantity);
const char* name_of(RouteScalar scalar);
/// The same with its unit, for colour bars and axes.
const char* title_of(Quantity quantity);
const char* title_of(RouteScalar scalar);

/// Row of moe_layers that holds model layer blk.`layer`, or -1 for a dense layer.
int moe_row_of(const gs::TraceInfo& info, int layer);
/// blk.N of a MoE layer.
int model_layer(const gs::TraceInfo& info, int moe_layer);
/// All layers, dense ones included; at least what moe_layers names.
int n_model_layers(const gs::TraceInfo& info);

/// What a panel shows when nothing, or only part, is selected: newest token, middle MoE layer. -1 where the trace has none.
Pick effective_pick(const gs::TraceSnapshot& trace, const Pick& selected);

}  // namespace app
