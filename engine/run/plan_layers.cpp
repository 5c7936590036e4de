#include "engine/run/plan_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/core/check.h"

namespace gs {
namespace {

/// Left free: for the driver, what else draws on the device, and pieces that no allocation fits into.
uint64_t reserve(uint64_t free_bytes) {
    constexpr uint64_t kMost = uint64_t{512} << 20;
    return std::min(free_bytes / 16, kMost);
}

/// Of layers first .. and the head; of the embedding too where first is 0. What two roles share, as a tied head and the embedding do, is kept once.
uint64_t weight_bytes(const ModelWeights& weights, int first, int n_layers, const Ops& device) {
    std::set<const std::byte*> seen;
    uint64_t sum = 0;
    for (const std::vector<Weight>& some : {weights.matrices(first, n_layers), weights.others(first, n_layers)})
        for (const Weight& w : some)
            if (w && seen.insert(w.data).second) sum += device.adopted_bytes(w);
    return sum;
}

/// What the device must hold of layers first .. and the head.
uint64_t bytes_from(int first, const ModelSpec& spec, const ModelWeights& weights, const Ops& device, const DecoderOptions& options) {
    if (first == spec.n_layers) return 0;
    const StageMemory memory = stage_memory(spec, first, spec.n_layers, device.kv_type(), options);
    // Operations work in memory of their own: about as much as the decoder's rows take.
    return weight_bytes(weights, first, spec.n_layers, device) + memory.kv_bytes + 2 * memory.work_bytes;
}

int count_that_fit(uint64_t usable, const ModelSpec& spec, const ModelWeights& weights, const Ops& device, const DecoderOptions& options) {
    int first = spec.n_layers;
    while (first > 0 && bytes_from(first - 1, spec, weights, device, options) <= usable) --first;
    return spec.n_layers - first;
}

}  // namespace

LayerPlan plan_layers(const ModelSpec& spec, const ModelWeights& weights, const Ops& device, const DecoderOptions& options) {
    constexpr int kLeastContext = 256;
    GS_CHECK(options.n_ctx > 0 && spec.n_layers > 0, "a plan needs a context and layers");
    LayerPlan plan{.n_layers = spec.n_layers, .n_ctx = options.n_ctx, .free_bytes = device.free_memory().value_or(0)};
    const uint64_t usable = plan.free_bytes - reserve(plan.free_bytes);
    plan.n_on_device = count_that_fit(usable, spec, weights, device, options);
    plan.least_bytes = bytes_from(spec.n_layers - 1, spec, weights, device, options);
    plan.device_bytes = bytes_from(spec.n_layers - plan.n_on_device, spec, weights, device, options);
    plan.whole_bytes = bytes_from(0, spec, weights, device, options);
    DecoderOptions shorter = options;
    while (!plan.is_whole() && plan.shorter_n_ctx == 0 && shorter.n_ctx / 2 >= kLeastContext) {
        shorter.n_ctx /= 2;
        const int n = count_that_fit(usable, spec, weights, device, shorter);
        if (n <= plan.n_on_device) continue;
        plan.shorter_n_ctx = shorter.n_ctx;
        plan.n_with_shorter = n;
    }
    return plan;
}

std::string to_sentence(const LayerPlan& plan, int n_on_device, const std::string& device) {
    constexpr uint64_t kMB = 1000000;
    std::string text = fmt::format("{} of {} layers are on {}", n_on_device, plan.n_layers, device);
    if (n_on_device == plan.n_layers) text = fmt::format("all {} layers are on {}", plan.n_layers, device);
    if (n_on_device == 0)
        text = fmt::format("no layer fits {}: one and the head take {} MB and {} MB are free", device, plan.least_bytes / kMB, plan.free_bytes / kMB);
    if (plan.n_with_shorter > n_on_device) text += fmt::format("; a context of {} would let {} fit", plan.shorter_n_ctx, plan.n_with_shorter);
    return text;
}

int fewer_layers(int n) { return n - std::max(1, n / 4); }

}  // namespace gs
