// A back end that hands every call on to another: tests derive from it and change what they are about.
#pragma once

#include <memory>
#include <utility>

#include "engine/ops/ops.h"

namespace gs::test {

class ForwardingOps : public Ops {
public:
    explicit ForwardingOps(std::shared_ptr<Ops> inner) : m_inner(std::move(inner)) {}

    std::string name() const override { return m_inner->name(); }
    Precision precision() const override { return m_inner->precision(); }
    KvType kv_type() const override { return m_inner->kv_type(); }
    Result<void> check() const override { return m_inner->check(); }
    std::optional<uint64_t> free_memory() const override { return m_inner->free_memory(); }
    uint64_t adopted_bytes(const Weight& w) const override { return m_inner->adopted_bytes(w); }
    float* allocate(size_t n) override { return m_inner->allocate(n); }
    void release(float* memory) override { m_inner->release(memory); }
    void read(const float* from, float* to, size_t n) override { m_inner->read(from, to, n); }
    void write(const float* from, float* to, size_t n) override { m_inner->write(from, to, n); }
    std::unique_ptr<Readback> make_readback(size_t n) override { return m_inner->make_readback(n); }
    std::vector<std::span<const std::byte>> adopt(std::span<const Weight> matrices, std::span<const Weight> others, const std::shared_ptr<const void>& owner,
                                                  const AdoptProgress& progress) override {
        return m_inner->adopt(matrices, others, owner, progress);
    }
    void embed(const Weight& table, std::span<const int32_t> ids, float scale, Rows out) override { m_inner->embed(table, ids, scale, out); }
    void norm(const NormCall& call) override { m_inner->norm(call); }
    void linear(Rows x, std::span<const LinearCall> calls) override { m_inner->linear(x, calls); }
    void linear_transposed(Rows x, const Weight& weight, Rows out) override { m_inner->linear_transposed(x, weight, out); }
    void rope(const RopeSpec& spec, const Weight& divisors, Rows x, int n_heads, int head_dim, int first) override {
        m_inner->rope(spec, divisors, x, n_heads, head_dim, first);
    }
    void store_kv(const KvCache& cache, int layer, int first, Rows k, Rows v) override { m_inner->store_kv(cache, layer, first, k, v); }
    void read_kv(const KvCache& cache, int layer, int first, Rows k, Rows v) override { m_inner->read_kv(cache, layer, first, k, v); }
    void attention(const AttentionCall& call) override { m_inner->attention(call); }
    void add(Rows x, Rows y, float scale) override { m_inner->add(x, y, scale); }
    void copy(Rows from, Rows to) override { m_inner->copy(from, to); }
    void scale(Rows x, float factor) override { m_inner->scale(x, factor); }
    void grow(Rows x, const QueryGrowth& growth, int first_position) override { m_inner->grow(x, growth, first_position); }
    void clamp(Rows x, float limit) override { m_inner->clamp(x, limit); }
    void sigmoid(Rows x) override { m_inner->sigmoid(x); }
    std::unique_ptr<Routers> make_routers() override { return m_inner->make_routers(); }
    void route(const RouteCall& call) override { m_inner->route(call); }
    void ffn(const FfnWeights& weights, Rows x, Rows out) override { m_inner->ffn(weights, x, out); }
    void moe(const MoeCall& call) override { m_inner->moe(call); }
    void all_experts(const FfnWeights& experts, Rows x, Rows out) override { m_inner->all_experts(experts, x, out); }
    bool scores_rows() const override { return m_inner->scores_rows(); }
    void score(const ScoreCall& call) override { m_inner->score(call); }
    std::vector<OpTime> times() const override { return m_inner->times(); }
    void reset_times() override { m_inner->reset_times(); }

protected:
    Ops& inner() { return *m_inner; }

private:
    std::shared_ptr<Ops> m_inner;
};

}  // namespace gs::test
