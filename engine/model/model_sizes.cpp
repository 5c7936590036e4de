#include "engine/model/model_sizes.h"

#include <fstream>
#include <limits>
#include <string>

namespace gs {
namespace {

uint64_t multiply(uint64_t a, uint64_t b) {
    uint64_t product = 0;
    return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<uint64_t>::max() : product;
}

uint64_t params(const Weight& w) {
    return w ? static_cast<uint64_t>(w.n_in) * static_cast<uint64_t>(w.n_out) * static_cast<uint64_t>(w.n_slabs) : 0;
}

struct Tally {
    uint64_t bytes = 0, params = 0;
    void add(const Weight& w) {
        if (!w) return;
        bytes += w.n_bytes();
        params += gs::params(w);
    }
    void add(const FfnWeights& ffn) {
        add(ffn.gate);
        add(ffn.up);
        add(ffn.down);
        add(ffn.gate_bias);
        add(ffn.up_bias);
        add(ffn.down_bias);
    }
};

}  // namespace

ModelSizes measure_model(const ModelSpec& spec, const ModelWeights& weights) {
    const Weight& embedding = weights.token_embedding;
    Tally all, experts, lookup;   // the routed experts; what a token reads one row of
    for (const Weight& each : weights.matrices(0, spec.n_layers)) all.add(each);
    for (const Weight& each : weights.others(0, spec.n_layers))
        if (each.data != weights.output.data) all.add(each);
    for (const Weight* each : {&weights.rope_freqs, &weights.rope_freqs_long}) all.add(*each);
    for (const LayerWeights& w : weights.layers) {
        all.bytes += w.selection_bias.size() * sizeof(float);
        all.params += w.selection_bias.size();
        experts.add(w.experts);
    }
    if (weights.output.data != embedding.data) lookup.add(embedding);
    const Tally dense{all.bytes - experts.bytes - lookup.bytes, all.params - experts.params - lookup.params};   // what every token reads
    ModelSizes sizes;
    sizes.weight_bytes = all.bytes;
    sizes.total_params = all.params;
    sizes.active_params = sizes.total_params;
    sizes.lookup_params = lookup.params;
    sizes.dense_bytes_per_token = dense.bytes + embedding.row_bytes;
    if (spec.is_moe()) {
        const auto n_experts = static_cast<uint64_t>(spec.router.n_experts), n_used = static_cast<uint64_t>(spec.router.n_used);
        sizes.active_params -= experts.params / n_experts * (n_experts - n_used);
        sizes.expert_bytes = experts.bytes / (n_experts * spec.moe_layers.size());
    }
    return sizes;
}

uint64_t kv_bytes(const ModelSpec& spec, uint64_t n_ctx, KvType type) {
    const auto width = static_cast<uint64_t>(spec.k_width() + spec.v_width());
    return multiply(multiply(static_cast<uint64_t>(spec.n_layers) * width, kv_value_bytes(type)), n_ctx);
}

uint64_t work_bytes(const ModelSpec& spec) {
    constexpr uint64_t kBatch = 512;
    const auto u = [](int n) { return static_cast<uint64_t>(n); };
    const uint64_t latent = spec.is_mla() ? u(spec.mla.q_rank) + u(spec.query_width()) + u(spec.value_width()) : 0;
    const uint64_t attention = u(spec.n_heads) * u(spec.head_dim_k + spec.head_dim_v) + u(spec.n_kv_heads) * u(spec.head_dim_k + spec.head_dim_v) + latent;
    const uint64_t ffn = 2 * (u(spec.dense_ff) + u(spec.shared_ff) + u(spec.router.n_used) * u(spec.expert_ff));
    const uint64_t routing = spec.moe_layers.size() * (3 * u(spec.router.n_experts) + 1);   // logits, ids, weights and a count at every layer
    // Residual stream, normed input, sub-layer output, routed and shared sums: five rows of the width.
    const uint64_t per_token = 5 * u(spec.n_embd) + attention + ffn + routing;
    return (kBatch * per_token + u(spec.n_vocab)) * sizeof(float);
}

uint64_t available_memory() {
    std::ifstream file("/proc/meminfo");
    std::string key, unit;
    uint64_t value = 0;
    while (file >> key >> value) {
        std::getline(file, unit);
        if (key == "MemAvailable:") return value * 1024;
    }
    return 0;
}

}  // namespace gs
