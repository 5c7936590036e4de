// The attention's part of a ModelSpec: heads, rotation, what each layer sees (spec/moe-families.md section 3).
#include <algorithm>
#include <cmath>

#include "engine/model/spec_reader.h"

namespace gs {

Result<void> SpecReader::read_attention() {
    GS_TRY(m_spec.n_heads, one_for_all_layers("attention.head_count", 1, kMaxHeads));
    if (m_row.attention == AttentionKind::kLatent) {
        GS_TRY_VOID(read_latent());
    } else {
        GS_TRY_VOID(read_heads());
    }
    GS_TRY_VOID(read_rope());
    if (m_row.clamp_qkv) {
        GS_TRY(m_spec.clamp_qkv, limit("attention.clamp_kqv"));
    }
    return read_layers();
}

Result<void> SpecReader::read_heads() {
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
    GS_TRY(m_spec.rope.n_rot, integer_or("rope.dimension_count", 1, kMaxHeadDim, m_spec.head_dim_k));
    return {};
}

/// Section 7.5, both layouts: files of the old one lack the *_mla keys.
Result<void> SpecReader::read_latent() {
    MlaSpec& mla = m_spec.mla;
    const bool current = has("attention.key_length_mla");
    GS_TRY(mla.kv_rank, integer("attention.kv_lora_rank", 1, kMaxHeadDim));
    GS_TRY(mla.q_rank, integer_or("attention.q_lora_rank", 0, kMaxHeadDim, 0));
    const char* key_length = current ? "attention.key_length_mla" : "attention.key_length";
    GS_TRY(const int head_dim, integer(key_length, 1, kMaxHeadDim));
    GS_TRY(mla.value_dim, integer(current ? "attention.value_length_mla" : "attention.value_length", 1, kMaxHeadDim));
    GS_TRY(m_spec.rope.n_rot, integer("rope.dimension_count", 1, kMaxHeadDim));
    mla.nope_dim = head_dim - m_spec.rope.n_rot;
    if (mla.nope_dim < 1) return bad(key_length, fmt::format("is {}, but {} dimensions are rotated", head_dim, m_spec.rope.n_rot));
    m_spec.n_kv_heads = 1;
    m_spec.head_dim_k = mla.kv_rank + m_spec.rope.n_rot;
    m_spec.head_dim_v = mla.kv_rank;
    m_spec.attention_scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    return {};
}

Result<void> SpecReader::read_rope() {
    RopeSpec& rope = m_spec.rope;
    rope.pairs = m_row.rope_pairs;
    if (rope.n_rot % 2 != 0 || rope.n_rot > m_spec.head_dim_k)
        return bad("rope.dimension_count", fmt::format("is {}; an even number up to the head size {} is needed", rope.n_rot, m_spec.head_dim_k));
    GS_TRY(rope.base, positive("rope.freq_base", 10000.0));
    return read_rope_scaling();
}

Result<void> SpecReader::read_rope_scaling() {
    RopeSpec& rope = m_spec.rope;
    std::string_view type = "linear";
    if (has("rope.scaling.type")) {
        GS_TRY(type, m_file.get_string(key("rope.scaling.type")));
    }
    const bool longrope = m_row.rope_factors == RopeFactors::kLongAndShort;
    if (type != "none" && type != "linear" && type != "yarn" && !(type == "longrope" && longrope))
        return gguf_error("unsupported_layout", fmt::format("its positions are scaled by \"{}\", which this version cannot run", sanitise_for_display(type, 40)));
    if (type == "linear" || type == "yarn") {
        const char* factor = has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";   // the second is the old name
        GS_TRY(rope.factor, multiplier(factor));
    }
    GS_TRY(rope.original_context, integer_or("rope.scaling.original_context_length", 1, kMaxContext, m_spec.n_ctx_train));
    GS_TRY(rope.magnitude, multiplier("rope.scaling.attn_factor"));
    if (m_row.rope_magnitude != 0) rope.magnitude = m_row.rope_magnitude;
    return type == "yarn" ? read_yarn() : Result<void>();
}

/// Section 3.3; with a logarithmic multiplier (DeepSeek, 3.8) the softmax is scaled instead of cosine and sine.
Result<void> SpecReader::read_yarn() {
    RopeSpec& rope = m_spec.rope;
    rope.yarn = true;
    rope.whole_borders = m_row.yarn_whole_borders;
    GS_TRY(const double extrapolation, number_or("rope.scaling.yarn_ext_factor", 1));
    rope.extrapolation = static_cast<float>(extrapolation);
    GS_TRY(rope.beta_fast, positive("rope.scaling.yarn_beta_fast", m_row.yarn_beta_fast));
    GS_TRY(rope.beta_slow, positive("rope.scaling.yarn_beta_slow", 1));
    GS_TRY(const float more, multiplier("rope.scaling.yarn_attn_factor"));
    rope.magnitude *= more;
    GS_TRY(const double log_multiplier, number_or("rope.scaling.yarn_log_multiplier", 0));
    const double log_factor = std::log(static_cast<double>(rope.factor));
    if (m_spec.is_mla() && log_multiplier != 0) {
        const double m = 1 + log_multiplier * log_factor;
        m_spec.attention_scale = static_cast<float>(m * m * static_cast<double>(m_spec.attention_scale));
    } else if (rope.extrapolation != 0) {
        rope.magnitude = static_cast<float>((1 + 0.1 * log_factor) * static_cast<double>(rope.magnitude));
    }
    if (!std::isfinite(rope.magnitude) || !std::isfinite(m_spec.attention_scale)) return bad("rope.scaling.factor", "gives numbers that are not finite");
    return {};
}

Result<void> SpecReader::read_layers() {
    m_spec.attention.assign(static_cast<size_t>(m_spec.n_layers), {});
    if (m_row.attention == AttentionKind::kWindowed) return read_windows();
    if (m_row.attention != AttentionKind::kChunked) return {};
    // Section 7.6: a window of 0 means neither chunks nor layers without rotation; any other value is ignored.
    constexpr int kChunk = 8192, kPeriod = 4;
    GS_TRY(const int window, integer_or("attention.sliding_window", 0, kMaxContext, kChunk));
    for (int l = 0; l < m_spec.n_layers && window != 0; ++l) {
        const bool full = (l + 1) % kPeriod == 0;
        m_spec.attention[static_cast<size_t>(l)] = {.chunk = full ? 0 : kChunk, .rotates = !full};
    }
    return {};
}

/// sliding_window_pattern: a period of which the last layer sees all, or a flag a layer.
Result<void> SpecReader::read_windows() {
    constexpr const char* kPattern = "attention.sliding_window_pattern";
    GS_TRY(const int window, integer_or("attention.sliding_window", 0, kMaxContext, 0));
    GS_TRY(const float window_base, positive("rope.freq_base_swa", static_cast<double>(m_spec.rope.base)));
    if (window_base != m_spec.rope.base)
        return gguf_error("unsupported_layout", "its layers with a window rotate otherwise than the others, which this version cannot run");
    const bool flagged = has(kPattern) && m_file.is_array(key(kPattern));
    std::vector<int64_t> flags;
    int period = 2;
    if (flagged) {
        GS_TRY(flags, per_layer(kPattern));
    } else {
        GS_TRY(period, integer_or(kPattern, 1, kMaxLayers, period));
    }
    for (size_t l = 0; l < m_spec.attention.size(); ++l) {
        const bool windowed = flagged ? flags[l] != 0 : static_cast<int>(l) % period < period - 1;
        if (windowed) m_spec.attention[l].window = window;
    }
    return {};
}

}  // namespace gs
