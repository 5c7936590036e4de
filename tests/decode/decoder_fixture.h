// Models for tests of the decoder and of what runs on it, and a back end that counts and can run out of memory.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/model/model.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "engine/ops/ops.h"
#include "tests/support/forwarding_ops.h"
#include "tests/support/paths.h"

namespace gs::test {

/// Loaded once per program.
inline std::shared_ptr<const Model> load_once(const std::filesystem::path& path, Reading reading = Reading::kLlamaCpp) {
    static std::map<std::pair<std::filesystem::path, Reading>, std::shared_ptr<const Model>> loaded;
    std::shared_ptr<const Model>& model = loaded[{path, reading}];
    if (!model) {
        Result<std::shared_ptr<const Model>> result = Model::load(path, {.n_ctx = 512, .reading = reading});
        EXPECT_TRUE(result) << path << ": " << (result ? "" : result.error().message());
        if (result) model = *result;
    }
    return model;
}
inline std::shared_ptr<const Model> bundled_model() { return load_once(GATESCOPE_BUNDLED_MODEL); }
inline std::shared_ptr<const Model> golden_model(const std::string& name, Reading reading = Reading::kLlamaCpp) {
    return load_once(golden("models/" + name + "/model.gguf"), reading);
}

inline std::shared_ptr<Ops> exact_ops() { return make_cpu_ops({.n_threads = 2, .precision = Precision::kExact}); }
/// The CUDA back end on the emulated device.
inline std::shared_ptr<Ops> emulated(const OpsOptions& options = {.precision = Precision::kExact}) {
    Result<std::unique_ptr<Ops>> made = make_cuda_ops(options);
    EXPECT_TRUE(made);
    return made ? std::shared_ptr<Ops>(std::move(*made)) : nullptr;
}

inline std::unique_ptr<Decoder> make_decoder(std::shared_ptr<const Model> model, DecoderOptions options = {}, std::shared_ptr<Ops> ops = exact_ops()) {
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(std::move(model), std::move(ops), options);
    EXPECT_TRUE(decoder) << (decoder ? "" : decoder.error().message());
    return decoder ? std::move(*decoder) : nullptr;
}

inline Policy policy(const std::string& text) {
    const Result<Policy> parsed = Policy::parse(text);
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Policy{};
}

/// Some ids of a vocabulary, without pattern.
inline std::vector<int32_t> some_ids(const Model& model, int n) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((7919LL * i + 101) % model.spec.n_vocab));
    return ids;
}

/// Keeps what a forward pass routes: one entry a (layer, row).
class RouteList final : public RouteSink {
public:
    struct Row {
        int moe_layer, row;
        std::vector<float> logits, weights;
        std::vector<int32_t> ids;
    };
    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids,
                  std::span<const float> weights, std::span<const int32_t> n_used, int k_stride) override {
        ++n_calls;
        const size_t n_experts = logits.size() / static_cast<size_t>(n_rows);
        for (int r = 0; r < n_rows; ++r) {
            const auto at = static_cast<size_t>(r), k = static_cast<size_t>(n_used[at]), slot = at * static_cast<size_t>(k_stride);
            Row row{moe_layer, first_row + r, {}, {}, {}};
            row.logits.assign(logits.begin() + static_cast<std::ptrdiff_t>(at * n_experts), logits.begin() + static_cast<std::ptrdiff_t>((at + 1) * n_experts));
            row.ids.assign(ids.begin() + static_cast<std::ptrdiff_t>(slot), ids.begin() + static_cast<std::ptrdiff_t>(slot + k));
            row.weights.assign(weights.begin() + static_cast<std::ptrdiff_t>(slot), weights.begin() + static_cast<std::ptrdiff_t>(slot + k));
            rows.push_back(std::move(row));
        }
    }
    std::vector<Row> rows;
    int n_calls = 0;
    CancelFlag flag;
};

/// All logits [T, V] of one call, and its routing.
struct Pass {
    std::vector<float> logits;
    std::vector<RouteList::Row> routes;
};
inline Pass run_pass(Decoder& decoder, std::span<const int32_t> ids, int position = 0) {
    RouteList routes;
    decoder.set_sink(&routes);
    const Result<void> ran = decoder.forward(ids, position, LogitRows::kAll);
    decoder.set_sink(nullptr);
    EXPECT_TRUE(ran) << (ran ? "" : ran.error().message());
    Pass pass{{}, std::move(routes.rows)};
    for (size_t r = 0; r < ids.size(); ++r) {
        const std::span<const float> row = decoder.logits(static_cast<int>(r));
        pass.logits.insert(pass.logits.end(), row.begin(), row.end());
    }
    return pass;
}

inline double max_difference(std::span<const float> a, std::span<const float> b) {
    EXPECT_EQ(a.size(), b.size());
    double worst = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return worst;
}

/// Passes everything on to another back end; refuses memory after n_floats_left.
class LimitedOps final : public ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    size_t n_floats_left = SIZE_MAX;
    int64_t n_linear_rows = 0;              ///< rows times outputs asked of linear()

    float* allocate(size_t n) override {
        if (n > n_floats_left) return nullptr;
        n_floats_left -= n;
        return ForwardingOps::allocate(n);
    }
    std::unique_ptr<Readback> make_readback(size_t n) override {
        if (n > n_floats_left) return nullptr;
        n_floats_left -= n;
        return ForwardingOps::make_readback(n);
    }
    void linear(Rows x, std::span<const LinearCall> calls) override {
        for (const LinearCall& call : calls) n_linear_rows += static_cast<int64_t>(call.out.n_rows) * call.out.n_cols;
        ForwardingOps::linear(x, calls);
    }
};

}  // namespace gs::test
