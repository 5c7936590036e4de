// Reads a ModelSpec from metadata. Every value that becomes a size, a divisor or a loop bound is range-checked here (spec/gguf.md R22, R23).
#include "engine/model/model_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/model/family_table.h"
#include "engine/model/gguf_part.h"
#include "engine/model/model.h"

namespace gs {
namespace {

// Far above any published model, and small enough that products of two of them fit an int.
constexpr int kMaxLayers = 512, kMaxExperts = 1024, kMaxHeads = 4096, kMaxHeadDim = 65536, kMaxWidth = 1 << 20, kMaxFfn = 1 << 24,
              kMaxContext = 1 << 30;

class SpecReader {
public:
    SpecReader(const GgufFile& file, const FamilyRow& row) : m_file(file), m_row(row) {}
    Result<ModelSpec> run();

private:
    std::string key(std::string_view suffix) const { return fmt::format("{}.{}", m_row.architecture, suffix); }
    bool has(std::string_view suffix) const { return m_file.has(key(suffix)); }
    Error bad(std::string_view suffix, const std::string& why) const { return gguf_error("bad_value", fmt::format("{} {}", key(suffix), why)); }

    Result<int> integer(std::string_view suffix, int low, int high) const;
    Result<int> integer_or(std::string_view suffix, int low, int high, int fallback) const;
    Result<int> one_for_all_layers(std::string_view suffix, int low, int high) const;
    Result<int> largest_of_layers(std::string_view suffix, int low, int high) const;
    Result<std::vector<int64_t>> per_layer(std::string_view suffix) const;
    Result<double> number_or(std::string_view suffix, double fallback) const;
    Result<float> positive(std::string_view suffix, std::optional<double> fallback) const;
    Result<float> multiplier(std::string_view suffix) const;

    Result<void> read_shape();
    Result<void> read_attention();
    Result<void> read_rope();
    Result<void> read_rope_scaling();
    Result<void> read_ffn();
    Result<void> read_router();
    Result<void> read_groups();
    Result<void> read_granite_scales();

    const GgufFile& m_file;
    const FamilyRow& m_row;
    ModelSpec m_spec;
};

Result<int> SpecReader::integer(std::string_view suffix, int low, int high) const {
    GS_TRY(const uint64_t value, m_file.get_uint(key(suffix)));
    if (value < static_cast<uint64_t>(low) || value > static_cast<uint64_t>(high))
        return bad(suffix, fmt::format("is {}; {} to {} are accepted", value, low, high));
    return static_cast<int>(value);
}

Result<int> SpecReader::integer_or(std::string_view suffix, int low, int high, int fallback) const {
    return has(suffix) ? integer(suffix, low, high) : Result<int>(fallback);
}

/// An array with one entry a layer (R23).
Result<std::vector<int64_t>> SpecReader::per_layer(std::string_view suffix) const {
    GS_TRY(std::vector<int64_t> values, m_file.get_int_array(key(suffix)));
    if (values.size() < static_cast<size_t>(m_spec.n_layers))
        return bad(suffix, fmt::format("has {} entries for {} layers", values.size(), m_spec.n_layers));
    values.resize(static_cast<size_t>(m_spec.n_layers));
    return values;
}

/// A scalar, or an array with one entry a layer that are all the same.
Result<int> SpecReader::one_for_all_layers(std::string_view suffix, int low, int high) const {
    if (!m_file.is_array(key(suffix))) return integer(suffix, low, high);
    GS_TRY(const std::vector<int64_t> values, per_layer(suffix));
    if (values.front() < low || values.front() > high) return bad(suffix, fmt::format("has an entry {}; {} to {} are accepted", values.front(), low, high));
    if (std::any_of(values.begin(), values.end(), [&](int64_t v) { return v != values.front(); }))
        return gguf_error("unsupported_layout", fmt::format("{} differs from layer to layer, which this version cannot run", key(suffix)));
    return static_cast<int>(values.front());
}

Result<int> SpecReader::largest_of_layers(std::string_view suffix, int low, int high) const {
    if (!m_file.is_array(key(suffix))) return integer(suffix, low, high);
    GS_TRY(const std::vector<int64_t> values, per_layer(suffix));
    const int64_t largest = *std::max_element(values.begin(), values.end());
    if (largest < low || largest > high) return bad(suffix, fmt::format("has an entry {}; {} to {} are accepted", largest, low, high));
    return static_cast<int>(largest);
}

Result<double> SpecReader::number_or(std::string_view suffix, double fallback) const {
    if (!has(suffix)) return fallback;
    GS_TRY(const double value, m_file.get_float(key(suffix)));
    if (!std::isfinite(value)) return bad(suffix, fmt::format("is {}; a finite number is needed", value));
    return value;
}

/// Finite and > 0, also after rounding to f32.
Result<float> SpecReader::positive(std::string_view suffix, std::optional<double> fallback) const {
    double value = fallback.value_or(0);
    if (!fallback || has(suffix)) {
        GS_TRY(value, m_file.get_float(key(suffix)));
    }
    const auto rounded = static_cast<float>(value);
    if (!std::isfinite(rounded) || !(rounded > 0)) return bad(suffix, fmt::format("is {}; a positive, finite number is needed", value));
    return rounded;
}

/// 0 and a missing key both mean "none", that is 1 (moe-families.md section 1.4).
Result<float> SpecReader::multiplier(std::string_view suffix) const {
    GS_TRY(const double value, number_or(suffix, 0));
    return value == 0 ? Result<float>(1.0f) : positive(suffix, std::nullopt);
}

Result<void> SpecReader::read_shape() {
    GS_TRY(const int n_blocks, integer("block_count", 1, kMaxLayers));
    GS_TRY(const int n_extra, integer_or("nextn_predict_layers", 0, kMaxLayers, 0));   // multi-token prediction, not part of the forward pass
    if (n_extra >= n_blocks) return bad("nextn_predict_layers", fmt::format("is {} of {} layers", n_extra, n_blocks));
    m_spec.n_layers = n_blocks - n_extra;
    GS_TRY(m_spec.n_embd, integer("embedding_length", 1, kMaxWidth));
    GS_TRY(m_spec.n_ctx_train, integer("context_length", 1, kMaxContext));
    GS_TRY(m_spec.norm_eps, positive("attention.layer_norm_rms_epsilon", std::nullopt));
    constexpr const char* kTokens = "tokenizer.ggml.tokens";
    if (!m_file.has(kTokens)) return gguf_error("missing_key", fmt::format("the metadata key {} is missing", kTokens));
    const uint64_t n_tokens = m_file.array_size(kTokens);
    if (n_tokens < 1 || n_tokens > static_cast<uint64_t>(kMaxFfn))
        return gguf_error("bad_tokenizer", fmt::format("the vocabulary has {} tokens; 1 to {} are accepted", n_tokens, kMaxFfn));
    m_spec.n_vocab = static_cast<int>(n_tokens);
    return {};
}

Result<void> SpecReader::read_attention() {
    GS_TRY(m_spec.n_heads, one_for_all_layers("attention.head_count", 1, kMaxHeads));
    m_spec.n_kv_heads = m_spec.n_heads;
    if (has("attention.head_count_kv")) {
        GS_TRY(m_spec.n_kv_heads, one_for_all_layers("attention.head_count_kv", 1, kMaxHeads));
    }
    if (m_spec.n_heads % m_spec.n_kv_heads != 0)
        return bad("attention.head_count_kv", fmt::format("is {}, which does not divide the {} heads", m_spec.n_kv_heads, m_spec.n_heads));
    const bool given = has("attention.key_length") && has("attention.value_length");
    if (!given && m_spec.n_embd % m_spec.n_heads != 0)
        return bad("attention.head_count", fmt::format("is {}, which does not divide the width {}", m_spec.n_heads, m_spec.n_embd));
    const int share = std::min(m_spec.n_embd / m_spec.n_heads, kMaxHeadDim);
    GS_TRY(m_spec.head_dim_k, integer_or("attention.key_length", 1, kMaxHeadDim, share));
    GS_TRY(m_spec.head_dim_v, integer_or("attention.value_length", 1, kMaxHeadDim, share));
    m_spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(m_spec.head_dim_k));
    return {};
}

Result<void> SpecReader::read_rope() {
    GS_TRY(m_spec.n_rot, integer_or("rope.dimension_count", 1, kMaxHeadDim, m_spec.head_dim_k));
    if (m_spec.n_rot % 2 != 0 || m_spec.n_rot > m_spec.head_dim_k)
        return bad("rope.dimension_count", fmt::format("is {}; an even number up to the head size {} is needed", m_spec.n_rot, m_spec.head_dim_k));
    GS_TRY(m_spec.rope_base, positive("rope.freq_base", 10000.0));
    return read_rope_scaling();
}

Result<void> SpecReader::read_rope_scaling() {
    std::string_view type = "linear";
    if (has("rope.scaling.type")) {
        GS_TRY(type, m_file.get_string(key("rope.scaling.type")));
    }
    if (type != "none" && type != "linear")
        return gguf_error("unsupported_layout", fmt::format("its positions are scaled by \"{}\", which this version cannot run", sanitise_for_display(type, 40)));
    if (type == "linear") {
        const char* factor = has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";   // the second is the old name
        GS_TRY(m_spec.rope_linear_factor, multiplier(factor));
    }
    GS_TRY(const float magnitude, multiplier("rope.scaling.attn_factor"));
    if (magnitude != 1.0f) return gguf_error("unsupported_layout", fmt::format("{} is {}, which this version cannot run", key("rope.scaling.attn_factor"), magnitude));
    return {};
}

Result<void> SpecReader::read_ffn() {
    if (has("feed_forward_length")) {
        GS_TRY(m_spec.dense_ff, largest_of_layers("feed_forward_length", 1, kMaxFfn));
    }
    if (!m_spec.is_moe()) {
        if (m_spec.dense_ff == 0) return gguf_error("missing_key", fmt::format("the metadata key {} is missing", key("feed_forward_length")));
        return {};
    }
    const int per_k = m_row.expert_width == ExpertWidthKey::kOwnOrDensePerK ? m_spec.router.n_used : 1;
    GS_TRY(m_spec.expert_ff, integer_or("expert_feed_forward_length", 1, kMaxFfn, m_spec.dense_ff / per_k));
    GS_TRY(m_spec.shared_ff, integer_or("expert_shared_feed_forward_length", 0, kMaxFfn, m_row.shared == SharedExpert::kGated ? m_spec.dense_ff : 0));
    return {};
}

Result<void> SpecReader::read_router() {
    RouterSpec& router = m_spec.router;
    if (m_row.experts == ExpertUse::kRequired) {
        GS_TRY(router.n_experts, integer("expert_count", 1, kMaxExperts));
    } else {
        GS_TRY(router.n_experts, integer_or("expert_count", 0, kMaxExperts, 0));
    }
    if (!m_spec.is_moe()) return {};
    if (m_row.experts == ExpertUse::kNever)
        return gguf_error("unsupported_layout", fmt::format("it has {} experts, but {} models have none", router.n_experts, m_row.architecture));
    GS_TRY(router.n_used, integer("expert_used_count", 1, router.n_experts));
    router.renormalise = m_row.renormalise;
    GS_TRY(router.scale, multiplier("expert_weights_scale"));
    // 0 unset, 1 softmax. None of these families is published with another, and llama.cpp would ignore it.
    GS_TRY(const int gating, integer_or("expert_gating_func", 0, 255, 0));
    if (gating > 1) return gguf_error("unsupported_layout", fmt::format("{} is {}; {} models route by softmax", key("expert_gating_func"), gating, m_row.architecture));
    return read_groups();
}

Result<void> SpecReader::read_groups() {
    RouterSpec& router = m_spec.router;
    GS_TRY(const int n_groups, integer_or("expert_group_count", 0, kMaxExperts, 0));
    if (n_groups <= 1) return {};
    if (n_groups >= router.n_experts || router.n_experts % n_groups != 0)
        return bad("expert_group_count", fmt::format("is {}, which does not divide the {} experts", n_groups, router.n_experts));
    GS_TRY(const int n_used, integer("expert_group_used_count", 1, n_groups - 1));
    if (n_used * (router.n_experts / n_groups) < router.n_used)
        return bad("expert_group_used_count", fmt::format("keeps {} experts, fewer than the {} used", n_used * (router.n_experts / n_groups), router.n_used));
    router.n_groups = n_groups;
    router.n_groups_used = n_used;
    return {};
}

Result<void> SpecReader::read_granite_scales() {
    GS_TRY(m_spec.logit_divisor, positive("logit_scale", std::nullopt));
    GS_TRY(m_spec.embedding_scale, multiplier("embedding_scale"));
    GS_TRY(m_spec.residual_scale, multiplier("residual_scale"));
    GS_TRY(const double scale, number_or("attention.scale", 0));
    if (scale != 0) {
        GS_TRY(m_spec.attention_scale, positive("attention.scale", std::nullopt));
    }
    return {};
}

Result<ModelSpec> SpecReader::run() {
    m_spec.architecture = m_row.architecture;
    m_spec.rope_pairs = m_row.rope_pairs;
    m_spec.qk_norm = m_row.qk_norm;
    if (const Result<std::string_view> name = m_file.get_string("general.name")) m_spec.name = sanitise_for_display(*name, 120);
    GS_TRY_VOID(read_shape());
    GS_TRY_VOID(read_attention());
    GS_TRY_VOID(read_rope());
    GS_TRY_VOID(read_router());
    GS_TRY_VOID(read_ffn());
    if (m_row.granite_scales) GS_TRY_VOID(read_granite_scales());
    m_spec.family = m_spec.is_moe() ? m_row.family : m_row.dense_family;
    return std::move(m_spec);
}

}  // namespace

Result<ModelSpec> read_model_spec(const GgufFile& file) {
    GS_TRY(const std::string_view architecture, file.get_string("general.architecture"));
    if (const Result<std::string_view> type = file.get_string("general.type"); type && *type != "model")
        return gguf_error("unsupported_layout", fmt::format("it is of type \"{}\", not a model that can run by itself", sanitise_for_display(*type, 40)));
    const FamilyRow* row = find_family(architecture);
    if (row) return SpecReader(file, *row).run();
    return Error{ErrorKind::kInput, "unsupported_architecture", "Cannot run this model",
                 fmt::format("its architecture is \"{}\"", sanitise_for_display(architecture, 60)),
                 fmt::format("This version runs: {}. Its metadata can still be listed with \"gatescope info\".", supported_architectures())};
}

}  // namespace gs
