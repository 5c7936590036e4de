// The CPU back end: divides every operation among threads and calls the inner loops of kernels.h.
//
// Up to kGemvTokens tokens are multiplied one by one, weights read in place (generation is bound by memory); more are multiplied panel by
// panel. Every value is computed by one thread in an order that depends on shapes only, so results do not change with the number of threads.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "engine/ops/cpu/kernels.h"
#include "engine/ops/cpu/op_clock.h"
#include "engine/ops/cpu/scratch.h"
#include "engine/ops/cpu/thread_pool.h"
#include "engine/ops/cpu/tiled_weights.h"
#include "engine/ops/host_readback.h"
#include "engine/ops/host_routers.h"

namespace gs::cpu {

class CpuOps final : public Ops {
public:
    CpuOps(const OpsOptions& options, int n_threads, Kernels kernels);

    std::string name() const override;
    Precision precision() const override { return m_precision; }
    KvType kv_type() const override { return m_kv_type; }

    float* allocate(size_t n_floats) override;
    void release(float* memory) override;
    void read(const float* from, float* to_host, size_t n_floats) override;
    void write(const float* from_host, float* to, size_t n_floats) override;
    std::unique_ptr<Readback> make_readback(size_t n_floats) override { return make_host_readback(*this, n_floats); }

    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others,
                                                  const std::shared_ptr<const void>& owner, const AdoptProgress& progress) override;
    void embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) override;
    void norm(const NormCall& call) override;
    void linear(Rows x, std::span<const LinearCall> calls) override;
    void linear_transposed(Rows x, const Weight& weight, Rows out) override;
    void rope(const RopeSpec& spec, const Weight& freq_divisors, Rows x, int n_heads, int head_dim, int first_position) override;
    void store_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) override;
    void read_kv(const KvCache& cache, int layer, int first_position, Rows k, Rows v) override;
    void attention(const AttentionCall& call) override;
    void add(Rows x, Rows y, float scale) override;
    void copy(Rows from, Rows to) override;
    void scale(Rows x, float factor) override;
    void grow(Rows x, const QueryGrowth& growth, int first_position) override;
    void clamp(Rows x, float limit) override;
    void sigmoid(Rows x) override;
    std::unique_ptr<Routers> make_routers() override { return std::make_unique<HostRouters>(); }
    void route(const RouteCall& call) override;
    void ffn(const FfnWeights& weights, Rows x, Rows out) override;
    void moe(const MoeCall& call) override;
    void all_experts(const FfnWeights& experts, Rows x, Rows out) override;

    std::vector<OpTime> times() const override { return m_clock.times(); }
    void reset_times() override { m_clock.reset(); }

private:
    static constexpr int kGemvTokens = 3;
    static constexpr int kTaskRows = 32;       // rows of weights per task when multiplied by panels

    /// The forms of some rows that products read, by precision.
    struct Inputs {
        std::vector<const std::byte*> exact, fast;
    };
    /// One gate·up·down on one token: an expert of a slot, or the shared expert.
    struct Branch {
        FfnWeights net;
        float scale = 1;                       ///< of its output
        float input_scale = 1;                 ///< of its input
        size_t hidden = 0;                     ///< offset of its activations, in floats
        const std::byte* input = nullptr;      ///< of down
    };
    struct RowRange {
        int which, begin, end;
    };

    bool is_fast(const Weight& w) const { return m_precision == Precision::kFast && has_fast_product(w.type); }
    const MatmulKernels& product(const Weight& w) const { return w.tiled ? m_kernels.tiled : is_fast(w) ? m_kernels.fast : m_kernels.exact; }
    /// Our copy of w where there is one; another model may lie where an adopted one was that is gone.
    Weight best_form(const Weight& w) const { return m_tiles_owner.expired() ? w : m_tiles.find(w); }
    FfnWeights best_form(FfnWeights f) const {
        for (Weight* w : {&f.gate, &f.up, &f.down}) *w = best_form(*w);
        return f;
    }
    const std::byte* const* inputs_for(const Weight& w, const Inputs& inputs) const { return is_fast(w) ? inputs.fast.data() : inputs.exact.data(); }
    void take_inputs(Rows x, bool fast, Scratch& scratch, Inputs& inputs);
    int rows_per_chunk(size_t row_bytes, size_t all_bytes) const;

    std::span<const LinearCall> best_form(std::span<const LinearCall> calls);
    void multiply_tokens(Rows x, std::span<const LinearCall> calls);
    void multiply_panels(Rows x, std::span<const LinearCall> calls);
    void add_bias(const LinearCall& call, int begin, int end, int n_tokens, const float* bias) const;
    const float* vector_values(const Weight& w, std::vector<float>& values) const;
    /// On all threads where there is enough to do; below this many values a fork costs more than it saves.
    template <class Row>
    void each_row(Rows x, const Row& row) {
        constexpr ptrdiff_t kForkValues = 1 << 15;
        if (static_cast<ptrdiff_t>(x.n_rows) * x.n_cols >= kForkValues) return m_pool.run(x.n_rows, row);
        for (int t = 0; t < x.n_rows; ++t) row(t, 0);
    }

    void attend_heads(const AttentionCall& call);
    void attend_tiles(const AttentionCall& call);

    void list_branches(const MoeCall& call, int token);
    void run_hidden(const float* x);
    void moe_token(const MoeCall& call, int token);
    void moe_grouped(const MoeCall& call);
    void activate(const FfnWeights& net, int begin, int n, float* gate, float* up, float input_scale, float* out) const;
    /// Some tokens of a batch, in order; null: all.
    struct Chosen {
        const int32_t* tokens = nullptr;
        const float* input_scales = nullptr;   ///< null: 1
        int n = 0;
    };
    void gated_panels(const FfnWeights& net, const Inputs& inputs, const Chosen& chosen, int begin, int end, float* hidden, int thread);
    void panel_product(const Weight& w, const std::byte* const* inputs, int n_tokens, int begin, int end, float* out, ptrdiff_t stride, int thread);
    void group_by_expert(const MoeCall& call);
    void expert_tokens(const FfnWeights& net, const Chosen& chosen, float* out, int thread);
    void ffn_panels(const FfnWeights& weights, Rows out);
    void sum_slots(const MoeCall& call, const float* pairs);

    struct ThreadScratch {
        Scratch panel, gates, hidden, inputs, attention;
    };

    Precision m_precision;
    KvType m_kv_type;
    std::string m_note;
    Kernels m_kernels;
    ThreadPool m_pool;
    OpClock m_clock;
    std::vector<ThreadScratch> m_threads;
    Scratch m_input_scratch, m_hidden_scratch, m_down_scratch, m_pair_scratch;
    Inputs m_inputs, m_down_inputs;
    TiledWeights m_tiles;
    std::weak_ptr<const void> m_tiles_owner;
    std::vector<Weight> m_call_weights;        // of the linear() going on
    std::vector<LinearCall> m_calls;
    std::vector<Branch> m_branches;
    std::vector<RowRange> m_ranges;
    std::vector<int32_t> m_pair_token, m_pair_of_slot, m_expert_begin;
    std::vector<float> m_pair_weight;
    // The angles of the last rope call: the same for q, k and every layer of a step.
    struct {
        int first_position = -1, n_rows = 0;
        RopeSpec spec;
        const std::byte* divisors = nullptr;
        std::vector<float> cosines, sines;
    } m_angles;
};

}  // namespace gs::cpu
