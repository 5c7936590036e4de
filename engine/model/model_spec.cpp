#include "engine/model/model_spec.h"

#include <algorithm>
#include <cmath>

#include "engine/model/spec_reader.h"

namespace gs {

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

/// 0 means "none", that is 1 (moe-families.md section 1.4).
Result<float> SpecReader::multiplier(std::string_view suffix, double fallback) const {
    GS_TRY(const double value, number_or(suffix, fallback));
    return value == 0 ? Result<float>(1.0f) : positive(suffix, fallback);
}

/// 0 means "none".
Result<float> SpecReader::limit(std::string_view suffix, double fallback) const {
    GS_TRY(const double value, number_or(suffix, fallback));
    return value == 0 ? Result<float>(0.0f) : positive(suffix, fallback);
}

Result<void> SpecReader::read_shape() {
    GS_TRY(const int n_blocks, integer("block_count", 1, kMaxLayers));
    GS_TRY(const int n_extra, integer_or("nextn_predict_layers", 0, kMaxLayers, 0));   // multi-token prediction, not part of the forward pass
    if (n_extra >= n_blocks) return bad("nextn_predict_layers", fmt::format("is {} of {} layers", n_extra, n_blocks));
    m_spec.n_layers = n_blocks - n_extra;
    GS_TRY(m_spec.n_embd, integer("embedding_length", 1, kMaxWidth));
    GS_TRY(m_spec.n_ctx_train, integer("context_length", 1, kMaxContext));
    const bool layer_norm = m_published.norm == NormKind::kLayer;
    GS_TRY(m_spec.norm_eps, positive(layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", std::nullopt));
    constexpr const char* kTokens = "tokenizer.ggml.tokens";
    if (!m_file.has(kTokens)) return gguf_error("missing_key", fmt::format("the metadata key {} is missing", kTokens));
    const uint64_t n_tokens = m_file.array_size(kTokens);
    if (n_tokens < 1 || n_tokens > static_cast<uint64_t>(kMaxFfn))
        return gguf_error("bad_tokenizer", fmt::format("the vocabulary has {} tokens; 1 to {} are accepted", n_tokens, kMaxFfn));
    m_spec.n_vocab = static_cast<int>(n_tokens);
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
    GS_TRY(m_spec.shared_ff, shared_width());
    return {};
}

Result<int> SpecReader::shared_width() const {
    constexpr const char *kWidth = "expert_shared_feed_forward_length", *kCount = "expert_shared_count";
    const bool beside = m_row.shared == SharedExpert::kBesideDense, or_dense = m_row.shared_width == SharedWidthKey::kOwnOrDense;
    if (beside) return 0;   // the tensors tell
    const bool by_count = m_row.shared_width == SharedWidthKey::kRoutedPerExpert || m_row.shared_width == SharedWidthKey::kOwnPerExpert;
    GS_TRY(int64_t width, integer_or(kWidth, 0, kMaxFfn, or_dense ? m_spec.dense_ff : 0));
    if (by_count) {
        GS_TRY(const int count, integer_or(kCount, 0, kMaxExperts, 0));
        width = count * (m_row.shared_width == SharedWidthKey::kRoutedPerExpert ? int64_t{m_spec.expert_ff} : width);
    }
    if (width > kMaxFfn) return bad(kCount, fmt::format("gives a shared expert of width {}; up to {} is accepted", width, kMaxFfn));
    return static_cast<int>(width);
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

/// Section 7.12; the fallbacks are those of Grok-1, whose files lack the keys.
Result<void> SpecReader::read_grok_scales() {
    GS_TRY(m_spec.embedding_scale, multiplier("embedding_scale", 78.38367176906169));
    GS_TRY(const float logit_scale, multiplier("logit_scale", 0.5773502691896257));
    m_spec.logit_divisor = 1 / logit_scale;
    GS_TRY(m_spec.attention_scale, positive("attention.output_scale", 0.08838834764831845));
    GS_TRY(m_spec.attention_cap, limit("attn_logit_softcapping", 30));
    GS_TRY(m_spec.logit_cap, limit("final_logit_softcapping"));
    return {};
}

Result<ModelSpec> SpecReader::run() {
    m_spec.architecture = m_row.architecture;
    m_spec.norm = m_row.norm;
    m_spec.qk_norm = m_row.qk_norm;
    if (const Result<std::string_view> name = m_file.get_string("general.name")) m_spec.name = sanitise_for_display(*name, 120);
    GS_TRY_VOID(read_shape());
    GS_TRY_VOID(read_attention());
    GS_TRY_VOID(read_router());
    GS_TRY_VOID(read_ffn());
    if (m_row.scales == Scales::kGranite) GS_TRY_VOID(read_granite_scales());
    if (m_row.scales == Scales::kGrok) GS_TRY_VOID(read_grok_scales());
    // Section 7.6: Maverick, told by its 128 experts, has no norm of queries and keys.
    if (m_row.qk_norm == QkNorm::kPlainAfterRope && m_spec.router.n_experts == 128) m_spec.qk_norm = QkNorm::kNone;
    m_spec.family = m_spec.is_moe() ? m_row.family : m_row.dense_family;
    return std::move(m_spec);
}

Result<ModelSpec> read_model_spec(const GgufFile& file, Reading reading) {
    GS_TRY(const std::string_view architecture, file.get_string("general.architecture"));
    if (const Result<std::string_view> type = file.get_string("general.type"); type && *type != "model")
        return gguf_error("unsupported_layout", fmt::format("it is of type \"{}\", not a model that can run by itself", sanitise_for_display(*type, 40)));
    const FamilyRow* row = find_family(architecture);
    if (row) return SpecReader(file, *row, reading).run();
    return Error{ErrorKind::kInput, "unsupported_architecture", "Cannot run this model",
                 fmt::format("its architecture is \"{}\"", sanitise_for_display(architecture, 60)),
                 fmt::format("This version runs: {}. Its metadata can still be listed with \"gatescope info\".", supported_architectures())};
}

}  // namespace gs
