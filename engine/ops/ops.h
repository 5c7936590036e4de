// The operations a decoder is made of. A back end implements them; the decoder (engine/decode) is written once over them.
// Contract tests (tests/ops) run over every implementation; the reference one is the oracle.
//
// Activations are f32, row-major, one row a token, in memory that the back end allocates. Calls return when their results are visible to the
// next call; read() makes them visible to the host. An Ops object is used by one thread at a time.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/result.h"
#include "engine/model/kv_type.h"
#include "engine/model/model_spec.h"
#include "engine/model/weights.h"
#include "engine/routing/router.h"

namespace gs {

class RoutingShare;
class RoutingViewer;
struct SharedLayout;

/// A view of activations in the back end's memory: n_rows x n_cols, rows `stride` floats apart.
struct Rows {
    float* data = nullptr;
    int n_rows = 0, n_cols = 0, stride = 0;
    float* row(int r) const { return data + static_cast<ptrdiff_t>(r) * stride; }
    Rows first(int n) const { return {data, n, n_cols, stride}; }
    Rows from(int r, int n) const { return {row(r), n, n_cols, stride}; }
    Rows columns(int c, int n) const { return {data + c, n_rows, n, stride}; }
};

/// exact: activations stay f32 (what the goldens test). fast: keys and values are kept in f16 (if not asked for otherwise), and where weights are
/// quantized, by whatever type, activations are rounded to 16-bit integers per block of 32 for the product; weights in F32, F16 and BF16 are always multiplied in f32, and so
/// is the router.
enum class Precision : uint8_t { kExact, kFast };

/// out = x Wᵀ (+ bias). x: [T, n_in], out: [T, n_out].
struct LinearCall {
    const Weight* weight = nullptr;
    const Weight* bias = nullptr;      ///< null or empty: none
    Rows out;
};

/// Over each row, or over each run of `group` columns separately with the same weight (per-head q/k norm). out may be x.
/// kRms: y = x / sqrt(mean(x²) + eps) * w + b; kLayer: the same of x - mean(x).
struct NormCall {
    Rows x;
    NormKind kind = NormKind::kRms;
    const Weight* weight = nullptr;    ///< null or empty: ones
    const Weight* bias = nullptr;      ///< null or empty: none
    float eps = 0;
    int group = 0;                     ///< 0: whole rows
    Rows out;
};

/// Keys and values of all layers. The positions of a head lie one behind the other, because attention reads one head after another.
struct KvCache {
    std::byte* k = nullptr;            ///< [L, Hkv, n_ctx, dk]
    std::byte* v = nullptr;            ///< [L, Hkv, n_ctx, dv]; null: V is the beginning of K (latent attention)
    KvType type = KvType::kF32;
    int n_layers = 0, n_ctx = 0, n_kv_heads = 0, head_dim_k = 0, head_dim_v = 0;
    /// Values from one position to the next.
    int v_stride() const { return v ? head_dim_v : head_dim_k; }
    std::byte* k_at(int layer, int head, int position) const { return k + offset(layer, head, position, head_dim_k); }
    std::byte* v_at(int layer, int head, int position) const { return v ? v + offset(layer, head, position, head_dim_v) : k_at(layer, head, position); }

private:
    size_t offset(int layer, int head, int position, int dim) const {
        const auto row = (static_cast<size_t>(layer) * static_cast<size_t>(n_kv_heads) + static_cast<size_t>(head)) * static_cast<size_t>(n_ctx);
        return (row + static_cast<size_t>(position)) * static_cast<size_t>(dim) * kv_value_bytes(type);
    }
};

/// Causal grouped-query attention of T new tokens at positions first..first+T-1, their K and V already in the cache. The token at position p
/// sees the keys from first_key(p) to p.
struct AttentionCall {
    Rows q;                            ///< [T, H * dk]
    const KvCache* cache = nullptr;
    int layer = 0, first_position = 0;
    int n_heads = 0, head_dim_v = 0;   ///< head_dim_v: of the result, no more than the cache's
    float scale = 0;                   ///< multiplies q·k
    float cap = 0;                     ///< scores become cap tanh(score / cap); 0 = off
    int begin = 0;                     ///< positions before it hold nothing
    LayerAttention span;               ///< window and chunk
    const Weight* sinks = nullptr;     ///< {H} or null: takes exp(sink) of each head's softmax and gives no value
    Rows out;                          ///< [T, H * dv]

    int first_key(int position) const {
        int first = begin;
        if (span.window > 0) first = std::max(first, position - span.window + 1);
        if (span.chunk > 0) first = std::max(first, position - position % span.chunk);
        return std::min(first, position);
    }
};

/// What routes at one layer (engine/routing/router.h).
struct LayerRouter {
    RouterSpec spec;
    LayerPolicy policy;
    std::span<const float> selection_bias;   ///< [E] or empty; on the host
};

/// The routers of a model's layers in the back end's memory, where its kernels look: changing them changes nothing but bytes.
class Routers {
public:
    virtual ~Routers() = default;
    /// [L]; copied. In force from the next route() on. Of policies by batch (LayerPolicy::is_by_batch) what they say of a token alone.
    virtual void set(std::span<const LayerRouter> layers) = 0;
};

/// Memory of the back end that comes to the host on the side: asked for behind the operations so far, there by the time anything asked for later is.
/// It never moves. Gone before the back end is.
class Readback {
public:
    virtual ~Readback() = default;
    virtual float* data() = 0;         ///< the back end's side: zeroed, aligned to 64 bytes
    /// Asks for the first n floats and waits for nothing; takes the place of what was asked for before. They stay as they are until end().
    virtual void begin(size_t n_floats) = 0;
    /// What begin() asked for, on the host until the next begin(): waits for it, unless somebody has waited for something later. Zeros after a failure (Ops::check).
    virtual std::span<const float> end() = 0;
};

/// Routes T tokens at one layer. Pointers of shapes lead to the back end's memory.
struct RouteCall {
    Routers* routers = nullptr;        ///< made by the same back end
    int layer = 0;                     ///< which of them
    Rows logits;                       ///< [T, E]
    int32_t* ids = nullptr;            ///< [T, k_stride]: best first, the rest of a row left alone
    float* weights = nullptr;          ///< [T, k_stride]
    int32_t* n_used = nullptr;         ///< [T]
    int k_stride = 0;                  ///< at least the policy's experts_per_token()
    int32_t* nonfinite = nullptr;      ///< becomes 1 when a logit is NaN or infinite
    int first_position = 0;            ///< of row 0 in the sequence: noise depends on it
};

/// Mixture for T tokens: out[t] = Σ_j weights[t][j] Expert_{ids[t][j]}(x[t]) (summed in slot order) + shared_scale[t] Shared(x[t]).
/// weigh_input: Σ_j Expert_{ids[t][j]}(weights[t][j] x[t]) instead. Pointers of shapes lead to the back end's memory.
struct MoeCall {
    Rows x;                            ///< [T, D]
    const FfnWeights* experts = nullptr;
    const int32_t* ids = nullptr;      ///< [T, k_stride], row t uses the first n_used[t]
    const float* weights = nullptr;    ///< [T, k_stride]
    const int32_t* n_used = nullptr;   ///< [T]
    int k_stride = 0;
    bool weigh_input = false;
    const FfnWeights* shared = nullptr;     ///< null: none
    const float* shared_scale = nullptr;    ///< [T]; null = 1
    Rows out;                          ///< [T, D], overwritten
    Rows routed;                       ///< optional (data may be null): [T, D], the routed sum without the shared expert
    int k_most = 0;                    ///< no token uses more; for times() only. 0: k_stride
};

/// What rows of logits say of the ids that follow them.
struct ScoreCall {
    Rows logits;                       ///< [T, V]
    std::span<const int32_t> ids;      ///< [T] of the vocabulary, on the host
    float divisor = 1, cap = 0;        ///< a logit counts as l / divisor, and that, if cap is not 0, as cap tanh(l / cap)
    float* out = nullptr;              ///< [T, 3] in the back end's memory: natural-log probability of the id, entropy (nats) of the distribution, 1 if all logits are finite and else 0
};

/// How far a copy of weights is: bytes of all. Called from one thread at a time, not always the same; false: it is not wanted any more.
using AdoptProgress = std::function<bool(uint64_t done, uint64_t total)>;

/// Steps of equal shape (Ops::step) make the same calls.
struct StepShape {
    const void* maker = nullptr;       ///< who calls
    int variant = 0;                   ///< tells apart the steps of one maker
    std::strong_ordering operator<=>(const StepShape&) const = default;
};

class Ops {
public:
    virtual ~Ops() = default;
    virtual std::string name() const = 0;          ///< for people and traces: "cpu reference", "cpu AVX-512 VNNI, 2 threads"
    virtual Precision precision() const = 0;

    /// Zeroed memory for n floats, aligned to 64 bytes; null when there is none.
    virtual float* allocate(size_t n_floats) = 0;
    virtual void release(float* memory) = 0;
    virtual void read(const float* from, float* to_host, size_t n_floats) = 0;
    virtual void write(const float* from_host, float* to, size_t n_floats) = 0;
    /// Null when there is no memory.
    virtual std::unique_ptr<Readback> make_readback(size_t n_floats) = 0;

    /// The matrices that later calls will multiply with, and the others that they will name, as long as the owner lives or until another owner's are adopted. A
    /// back end may keep copies in a layout of its own; returns the bytes that only embed() will read from then on. `progress` may be empty; one that copies
    /// to a memory that is not the host's tells it, and keeps nothing of this owner's once it returns false.
    virtual std::vector<std::span<const std::byte>> adopt(std::span<const Weight> /*matrices*/, std::span<const Weight> /*others*/,
                                                          const std::shared_ptr<const void>& /*owner*/, const AdoptProgress& /*progress*/) {
        return {};
    }
    /// Bytes of free memory, where it is not the host's.
    virtual std::optional<uint64_t> free_memory() const { return std::nullopt; }
    /// Bytes that adopt() takes of it for a copy of w.
    virtual uint64_t adopted_bytes(const Weight& w) const { return w.n_bytes(); }
    /// What has gone wrong since this was made: a lost device, memory that was not there. Results mean nothing from then on.
    virtual Result<void> check() const { return {}; }

    /// out[t] = scale * table.row(ids[t]), dequantized.
    virtual void embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) = 0;
    virtual void norm(const NormCall& call) = 0;
    /// Several matrices over the same input. x is read once.
    virtual void linear(Rows x, std::span<const LinearCall> calls) = 0;
    /// norm(before) and linear(before.out, calls), whose values are those of the two one after the other; for back ends that do both at once.
    virtual void norm_linear(const NormCall& before, std::span<const LinearCall> calls) {
        norm(before);
        linear(before.out, calls);
    }
    /// out = x W of one matrix, its rows weighted by x: x [T, n_out], out [T, n_in].
    virtual void linear_transposed(Rows x, const Weight& weight, Rows out) = 0;
    /// Rotates the first n_rot dimensions of each head of x, heads head_dim columns apart, row t at position first_position + t. Angles in f64.
    virtual void rope(const RopeSpec& spec, const Weight& freq_divisors, Rows x, int n_heads, int head_dim, int first_position) = 0;
    /// How this back end keeps keys and values: the type of every KvCache that it is given.
    virtual KvType kv_type() const { return KvType::kF32; }
    /// Puts K [T, Hkv * dk] and V [T, Hkv * dv] into the cache at first_position; a cache without V takes none.
    virtual void store_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) = 0;
    /// The reverse, for the host: into k and v in host memory.
    virtual void read_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) = 0;
    virtual void attention(const AttentionCall& call) = 0;
    /// x += scale * y
    virtual void add(Rows x, Rows y, float scale) = 0;
    virtual void copy(Rows from, Rows to) = 0;
    virtual void scale(Rows x, float factor) = 0;
    /// Row t times growth.factor(first_position + t).
    virtual void grow(Rows x, const QueryGrowth& growth, int first_position) = 0;
    /// x = min(max(x, -limit), limit)
    virtual void clamp(Rows x, float limit) = 0;
    /// x = 1 / (1 + exp(-x))
    virtual void sigmoid(Rows x) = 0;
    /// None set yet. Gone before this is.
    virtual std::unique_ptr<Routers> make_routers() = 0;
    virtual void route(const RouteCall& call) = 0;
    /// The viewer's memory to put routing into, where it draws on the same device. Errors: kDevice "not_shared", with why it is not. Gone before this is.
    virtual Result<std::unique_ptr<RoutingShare>> share_routing(const std::shared_ptr<RoutingViewer>& viewer, const SharedLayout& layout);
    /// out = down(act(gate x, up x))
    virtual void ffn(const FfnWeights& weights, Rows x, Rows out) = 0;
    virtual void moe(const MoeCall& call) = 0;
    /// Every expert of a layer on one input: x [1, D] -> out [E, D], unweighted.
    virtual void all_experts(const FfnWeights& experts, Rows x, Rows out) = 0;

    /// Whether score() is there: of back ends from which logits take longer to come than to be added up.
    virtual bool scores_rows() const { return false; }
    virtual void score(const ScoreCall& /*call*/) {}

    /// A pass of few tokens that comes again and again: `calls` makes it, with operations of this back end that leave their results in its memory. The back
    /// end may keep what is called for a shape, and from then on repeat it without asking `calls`. So steps of equal shape and count of ids make the same
    /// calls with the same arguments, but for these three: what lies in the back end's memory (activations, keys and values, routers), the span of ids
    /// given to embed(), which is `ids`, and the first_position of every call, which is `first_position`. They do not read(), write(), allocate() or
    /// release(). `calls` may be asked twice for one step. It returns false where it broke off: then nothing is kept, and there is no result.
    virtual void step(const StepShape& /*shape*/, std::span<const int32_t> /*ids*/, int /*first_position*/, const std::function<bool()>& calls) { (void)calls(); }

    /// Time and bytes by op since the last reset, for `bench` and the engine panel.
    struct OpTime {
        const char* op;
        double seconds = 0;
        uint64_t calls = 0, weight_bytes = 0;
        uint64_t products = 0;         ///< multiplications with weights
        OpTime& operator+=(const OpTime& more) {
            seconds += more.seconds;
            calls += more.calls;
            weight_bytes += more.weight_bytes;
            products += more.products;
            return *this;
        }
    };
    virtual std::vector<OpTime> times() const { return {}; }
    virtual void reset_times() {}
};

/// Of more runs, or of another back end: by op.
inline void add_times(std::vector<Ops::OpTime>& sum, std::span<const Ops::OpTime> more) {
    for (const Ops::OpTime& time : more) {
        const auto same = std::find_if(sum.begin(), sum.end(), [&](const Ops::OpTime& t) { return std::string_view(t.op) == time.op; });
        if (same == sum.end()) sum.push_back(time);
        else *same += time;
    }
}

struct OpsOptions {
    int n_threads = 0;                 ///< 0 = all cores this process may use
    Precision precision = Precision::kFast;
    std::optional<KvType> kv_type;     ///< none: f16 in the fast precision, f32 in the exact one
    std::string note;                  ///< said behind the CPU back end's name
    KvType chosen_kv_type() const { return kv_type.value_or(precision == Precision::kExact ? KvType::kF32 : KvType::kF16); }
};

/// Obvious, slow, one thread, f64 accumulation: the oracle.
std::unique_ptr<Ops> make_reference_ops();
/// SIMD and threads, chosen for this processor. The environment variable GATESCOPE_SIMD (e.g. "avx2") forces a lower instruction set.
std::unique_ptr<Ops> make_cpu_ops(const OpsOptions& options);
/// Instruction sets make_cpu_ops can use here, best first, as accepted by GATESCOPE_SIMD: "amx", "avx3_dl", "avx3", "avx2", "sse4", …
std::vector<std::string> cpu_instruction_sets();

}  // namespace gs
