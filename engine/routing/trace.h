// The trace: everything recorded while a run routes. Append-only on one thread; any number of readers hold snapshots.
//
//   TraceWriter writer(info);                            // run thread
//   writer.begin_tokens(ids, Phase::kPrefill, policy);   // T rows, unpublished
//   writer.set_route(moe_layer, row, logits, ids, weights);
//   writer.publish();
//   TraceSnapshot s = writer.snapshot();                 // O(1): any thread may then read it without a lock
//   s.logits(layer, token)                               // span of E floats
//
// Chunks hold a fixed number of token rows; rows below a snapshot's token count never change again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/routing/policy.h"
#include "engine/routing/router.h"

namespace gs {

enum class Phase : uint8_t { kPrefill, kDecode };
/// Where a number comes from. Shown beside it.
enum class Provenance : uint8_t { kComputed, kWhatIf, kReplayed };
const char* name_of(Provenance p);                       ///< "computed", "what-if", "replayed"
const char* name_of(Phase p);                            ///< "prefill", "decode"

/// What a run that another program recorded does not tell. Views say so in place of drawing what is not there.
struct TraceLacks {
    bool logits = false;                                 ///< no router logits: no preference, margin, entropy or what-if
    bool weights = false;                                ///< no applied weights: TraceSnapshot::weights() are NaN
    bool token_ids = false, text = false;                ///< TokenRow::id is 0, TokenRow::text empty
    bool phases = false;                                 ///< every token counts as prefill
    bool operator==(const TraceLacks&) const = default;
};

/// Identity of a run: enough to label it, and to answer what-ifs without the model.
struct TraceInfo {
    std::string model_name;                              ///< general.name
    std::string model_file;                              ///< file name without folder
    std::string model_hash;                              ///< hex; see ModelInfo::hash
    std::string architecture, family;
    std::string reading = "llamacpp";                    ///< whose decisions are followed where they differ: "llamacpp" or "reference"
    std::string engine, precision;                       ///< "cpu avx512", "exact"
    std::string prompt;                                  ///< as typed
    std::string template_name;                           ///< chat template used, or "raw"
    std::string sampler;                                 ///< text form of the sampler settings with the seed
    RouterSpec router;
    int n_layers = 0;                                    ///< all layers, dense ones included
    std::vector<int> moe_layers;                         ///< [M] layer index (blk.N) of each MoE layer
    std::vector<std::vector<float>> selection_bias;      ///< [M][E], or empty
    bool has_shared_expert = false;
    uint64_t dense_bytes_per_token = 0;                  ///< weight bytes every token reads (attention, shared, head, …)
    uint64_t expert_bytes = 0;                           ///< weight bytes of one routed expert in one layer
    Provenance provenance = Provenance::kComputed;
    TraceLacks lacks;
    std::string source;                                  ///< format that it was imported from; empty: recorded by Gatescope
    std::vector<std::string> notes;                      ///< what the importer had to assume or to leave out, a sentence each

    int n_moe_layers() const { return static_cast<int>(moe_layers.size()); }
};

/// One token of the run. logprob: natural log of the probability the model gave this token (after temperature 1, over the whole
/// vocabulary); NaN for the first token. entropy: nats, of that same distribution; NaN likewise.
struct TokenRow {
    int32_t id = 0;
    Phase phase = Phase::kPrefill;
    bool special = false;                                ///< control token: drawn as a bordered chip
    uint32_t policy = 0;  ///< number of the policy in force; equal number = equal policy, see TraceSnapshot::policy
    float logprob = 0, entropy = 0;
    std::string text;                                    ///< exact bytes of the piece, may be a fragment of a UTF-8 character
};

class TraceChunk;
struct TraceShared;

/// An immutable view of a run up to a token count. Cheap to copy.
class TraceSnapshot {
public:
    TraceSnapshot() = default;
    bool empty() const { return m_n_tokens == 0; }
    int n_tokens() const { return m_n_tokens; }
    const TraceInfo& info() const;                       ///< of an empty snapshot: a default TraceInfo
    int n_moe_layers() const { return info().n_moe_layers(); }
    int n_experts() const { return info().router.n_experts; }
    const TokenRow& token(int token) const;
    const Policy& policy(int token) const;               ///< policy in force for that token

    // moe_layer is the row in TraceInfo::moe_layers, not the blk.N index.
    std::span<const float> logits(int moe_layer, int token) const;    ///< [E]; NaN without has_logits()
    std::span<const uint16_t> ids(int moe_layer, int token) const;    ///< [k of that token]; may be empty
    std::span<const float> weights(int moe_layer, int token) const;   ///< [k], same slots as ids; NaN without has_weights()
    bool has_logits() const { return !info().lacks.logits; }
    bool has_weights() const { return !info().lacks.weights; }

    /// Changes whenever the content differs; for caches.
    uint64_t revision() const { return m_revision; }

private:
    friend class TraceWriter;
    friend TraceSnapshot what_if_trace(const TraceSnapshot& trace, const Policy& policy);
    std::shared_ptr<const TraceShared> m_shared;
    int m_n_tokens = 0;
    uint64_t m_revision = 0;
};

/// Tokens of the prompt: the first ones up to the first decoded one.
int n_prompt_tokens(const TraceSnapshot& trace);

class TraceWriter {
public:
    explicit TraceWriter(TraceInfo info);
    ~TraceWriter();
    TraceWriter(TraceWriter&&) noexcept;
    TraceWriter& operator=(TraceWriter&&) noexcept;

    /// Opens rows for T tokens under one policy; they stay invisible until publish(). tokens: TokenRow::policy is filled in here. Called
    /// again before publish(), it opens more rows after these.
    void begin_tokens(std::span<const TokenRow> tokens, const Policy& policy);
    /// Routing of the r-th open row at one MoE layer. logits: [E], or empty where the run lacks them; ids, weights: [k], 0 <= k <= E: none where
    /// all were dropped.
    void set_route(int moe_layer, int row, std::span<const float> logits, std::span<const int32_t> ids, std::span<const float> weights);
    /// Log-probability and entropy of the r-th open row, for callers that know them only after the forward pass.
    void set_scores(int row, float logprob, float entropy);
    /// Shows the open rows to later snapshots. Every MoE layer of every open row must have its route.
    void publish();
    /// Drops the open rows (cancelled in the middle of a batch).
    void abandon();
    TraceSnapshot snapshot() const;                      ///< of what is published; from any thread
    int n_tokens() const;                                ///< published

private:
    struct Impl;
    std::unique_ptr<Impl> m_impl;
};

}  // namespace gs
