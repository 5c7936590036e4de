// The CUDA back end: one stream, kernels one behind the other, results on the host only where read() asks for them. Which kernel does what is in the
// .cuh files of this folder.
//
// Has run in the emulation of tests/cuda_emulation only, never on a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/ops/cuda/cuda_engine.h"
#include "engine/ops/cuda/device_memory.h"
#include "engine/ops/cuda/event_clock.h"
#include "engine/ops/cuda/linear.cuh"
#include "engine/ops/cuda/step.cuh"
#include "engine/ops/cuda/step_graphs.h"
#include "engine/ops/cuda/weight_store.h"
#include "engine/ops/ops.h"

namespace gs::cuda {

struct DeviceFfn;
struct KvHeads;

class CudaOps final : public Ops {
public:
    CudaOps(DeviceInfo device, cudaStream_t stream, Precision precision, KvType kv_type);
    ~CudaOps() override;

    std::string name() const override;
    Precision precision() const override { return m_precision; }
    KvType kv_type() const override { return m_kv_type; }
    Result<void> check() const override;
    std::optional<uint64_t> free_memory() const override;
    uint64_t adopted_bytes(const Weight& w) const override { return WeightStore::n_bytes_of(w); }

    float* allocate(size_t n_floats) override;
    void release(float* memory) override;
    void read(const float* from, float* to_host, size_t n_floats) override;
    void write(const float* from_host, float* to, size_t n_floats) override;
    std::unique_ptr<Readback> make_readback(size_t n_floats) override;

    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others,
                                                  const std::shared_ptr<const void>& owner, const AdoptProgress& progress) override;
    void embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) override;
    void norm(const NormCall& call) override;
    void linear(Rows x, std::span<const LinearCall> calls) override;
    void norm_linear(const NormCall& before, std::span<const LinearCall> calls) override;
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
    std::unique_ptr<Routers> make_routers() override;
    void route(const RouteCall& call) override;
    Result<std::unique_ptr<RoutingShare>> share_routing(const std::shared_ptr<RoutingViewer>& viewer, const SharedLayout& layout) override;
    void ffn(const FfnWeights& weights, Rows x, Rows out) override;
    void moe(const MoeCall& call) override;
    void all_experts(const FfnWeights& experts, Rows x, Rows out) override;
    bool scores_rows() const override { return true; }
    void score(const ScoreCall& call) override;
    void step(const StepShape& shape, std::span<const int32_t> ids, int first_position, const std::function<bool()>& calls) override;

    std::vector<OpTime> times() const override { return m_clock.times(); }
    void reset_times() override { m_clock.reset(); }

private:
    /// One operation: on our device, timed, its errors noted, and the weights that it alone used freed.
    class Operation {
    public:
        Operation(CudaOps& ops, Op op);
        ~Operation();
        Operation(const Operation&) = delete;
        Operation& operator=(const Operation&) = delete;
        void add_bytes(size_t n) { m_weight_bytes += n; }
        void add_products(size_t n) { m_products += n; }

    private:
        CudaOps& m_ops;
        Op m_op;
        size_t m_weight_bytes = 0, m_products = 0;
    };
    /// Cosines and sines of some positions, the same for q, k and every layer of a step that rotates alike.
    struct Angles {
        RopeSpec spec;
        const std::byte* divisors = nullptr;
        int first_position = -1, n_rows = 0;
        std::unique_ptr<DeviceBuffer> frequencies, table;
        uint64_t used = 0;
    };
    /// The step that is being made, if block is not null.
    struct Step {
        std::span<const int32_t> ids;
        int first_position = 0;
        const StepBlock* block = nullptr;          // on the device
    };
    class StepScope;

    void use_device() const { (void)cudaSetDevice(m_device.index); }
    std::byte* workspace(size_t n_bytes);
    const float2* angle_table(const RopeSpec& spec, const Weight& divisors, int first_position, int n_rows);
    Angles* angles_of(const RopeSpec& spec, const Weight& divisors);
    void forget_angles();
    /// A position of the step where there is one, else as it is.
    Position at(int first_position) const;
    void run_kernel_by_kernel(const StepKey& key, const std::function<bool()>& calls);
    bool capture(const StepKey& key, const std::function<bool()>& calls);
    void replay(const StepGraph& graph);
    /// Counts whatever a graph cannot repeat: copies, allocations, memory that moved.
    uint64_t n_host_works() const;
    NormShape on_device(const NormCall& call);
    /// Nothing where there is no memory for them.
    std::vector<DeviceLinear> on_device(std::span<const LinearCall> calls, int n_rows, Operation& operation);
    /// The matrices and biases of a network; false where there is no memory for them.
    bool on_device(const FfnWeights& f, DeviceFfn& net);
    void read_kv_part(const KvHeads& heads, int first_position, Rows to_host);

    DeviceInfo m_device;
    cudaStream_t m_stream;
    Precision m_precision;
    KvType m_kv_type;
    mutable ErrorLog m_errors;
    mutable EventClock m_clock;
    UploadRing m_ring;
    WeightStore m_weights;
    StepGraphs m_graphs;
    DeviceBuffer m_workspace, m_step_block;
    Step m_step;
    bool m_capturing = false;
    uint64_t m_n_host_works = 0;
    std::byte* m_read_buffer = nullptr;        // page-locked
    uint64_t m_n_waits = 0;                    // for the stream, where results were wanted
    std::vector<Angles> m_angles;
    uint64_t m_n_ropes = 0;
};

}  // namespace gs::cuda
