#include "engine/run/router_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/core/check.h"

namespace gs {
namespace {

constexpr int kDirections = 16;
constexpr int kPollRows = 1024;

void read_row(const Weight& w, int o, std::vector<float>& out) {
    const TensorTypeInfo& info = tensor_type_info(w.type);
    GS_CHECK(info.dequantize, "weight of a type that cannot be loaded");
    out.resize(static_cast<size_t>(w.n_in));
    info.dequantize(w.row(o), out.size() / info.block_values, out.data());
}

void to_unit(std::vector<float>& v) {
    double sum = 0;
    for (const float x : v) sum += static_cast<double>(x) * static_cast<double>(x);
    for (float& x : v) x = sum > 0 ? static_cast<float>(static_cast<double>(x) / std::sqrt(sum)) : 0;
}

std::vector<float> router_direction(const LayerWeights& w, int n_experts, int expert) {
    std::vector<float> row, direction, norm(static_cast<size_t>(w.router.n_in), 1.0f);
    std::vector<double> mean(norm.size());
    for (int e = 0; e < n_experts; ++e) {
        read_row(w.router, e, row);
        for (size_t i = 0; i < row.size(); ++i) mean[i] += static_cast<double>(row[i]) / n_experts;
        if (e == expert) direction = row;
    }
    if (w.ffn_norm) read_row(w.ffn_norm, 0, norm);
    for (size_t i = 0; i < direction.size(); ++i) direction[i] = static_cast<float>((static_cast<double>(direction[i]) - mean[i]) * static_cast<double>(norm[i]));
    to_unit(direction);
    return direction;
}

/// Cosines of every centred embedding row with every direction, handed over one row at a time.
template <class Use>
Result<void> each_row(const Weight& table, const std::vector<std::vector<float>>& directions, const CancelFlag* cancel, Use use) {
    std::vector<double> mean(static_cast<size_t>(table.n_in)), cosines(directions.size());
    std::vector<float> row;
    for (const bool is_first : {true, false})
        for (int id = 0; id < table.n_out; ++id) {
            if (id % kPollRows == 0 && cancel && cancel->is_set()) return Error{ErrorKind::kCancelled, "cancelled", "Reading the vocabulary was cancelled", "", ""};
            read_row(table, id, row);
            if (is_first) {
                for (size_t i = 0; i < row.size(); ++i) mean[i] += static_cast<double>(row[i]) / table.n_out;
                continue;
            }
            for (size_t i = 0; i < row.size(); ++i) row[i] -= static_cast<float>(mean[i]);
            to_unit(row);
            for (size_t d = 0; d < directions.size(); ++d) {
                float dot = 0;
                for (size_t i = 0; i < row.size(); ++i) dot += row[i] * directions[d][i];
                cosines[d] = static_cast<double>(dot);
            }
            use(id, cosines);
        }
    return {};
}

}  // namespace

Result<RouterWords> router_words(const Model& model, int moe_layer, int expert, int n_words, const CancelFlag* cancel) {
    const ModelSpec& spec = model.spec;
    if (moe_layer < 0 || moe_layer >= static_cast<int>(spec.moe_layers.size()) || expert < 0 || expert >= spec.router.n_experts)
        return Error{ErrorKind::kUsage, "out_of_range", "There is no such expert",
                     fmt::format("the model has {} layers with {} experts each", spec.moe_layers.size(), spec.router.n_experts), ""};
    RouterWords out{.model_hash = model.hash, .moe_layer = moe_layer, .layer = spec.moe_layers[static_cast<size_t>(moe_layer)], .expert = expert};
    const Weight& table = model.weights.token_embedding;
    std::vector<std::vector<float>> directions = {router_direction(model.weights.layers[static_cast<size_t>(out.layer)], spec.router.n_experts, expert)};
    std::mt19937_64 random(static_cast<uint64_t>(moe_layer) * 1024 + static_cast<uint64_t>(expert));
    std::normal_distribution<float> normal(0.0f, 1.0f);
    for (int d = 0; d < kDirections; ++d) {
        directions.emplace_back(static_cast<size_t>(table.n_in));
        for (float& v : directions.back()) v = normal(random);
        to_unit(directions.back());
    }
    std::vector<double> most(directions.size(), -1.0);
    std::vector<RouterWord> all;
    GS_TRY_VOID(each_row(table, directions, cancel, [&](int id, const std::vector<double>& cosines) {
        for (size_t d = 0; d < cosines.size(); ++d) most[d] = std::max(most[d], cosines[d]);
        all.push_back({id, {}, cosines[0]});
    }));
    const auto n = static_cast<std::ptrdiff_t>(std::min<size_t>(all.size(), static_cast<size_t>(std::max(n_words, 0))));
    std::partial_sort(all.begin(), all.begin() + n, all.end(), [](const RouterWord& a, const RouterWord& b) { return a.cosine != b.cosine ? a.cosine > b.cosine : a.id < b.id; });
    out.nearest.assign(all.begin(), all.begin() + n);
    for (RouterWord& word : out.nearest) word.text = model.tokenizer->piece(word.id, true);
    out.n_vocabulary = table.n_out;
    out.n_directions = kDirections;
    for (size_t d = 1; d < most.size(); ++d) {
        out.random_mean += most[d] / kDirections;
        out.random_most = d == 1 ? most[d] : std::max(out.random_most, most[d]);
    }
    return out;
}

}  // namespace gs
