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
    const char* factor_key = has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";   // the second is the old name
    GS_TRY(const float factor, multiplier(factor_key));
    if (type != "none") rope.factor = factor;
    GS_TRY(rope.original_context, integer_or("rope.scaling.original_context_length", 1, kMaxContext, m_spec.n_ctx_train));
    GS_TRY(rope.magnitude, multiplier("rope.scaling.attn_factor"));
    if (m_row.rope_magnitude != 0) rope.magnitude = m_row.rope_magnitude;
    GS_TRY_VOID(read_yarn(type == "yarn"));
    return read_local_rope(factor);
}

/// Section 3.3. What extrapolates a part of the frequencies is YaRN, whatever the type of the scaling.
Result<void> SpecReader::read_yarn(bool is_yarn) {
    RopeSpec& rope = m_spec.rope;
    rope.whole_borders = m_row.yarn_whole_borders;
    rope.extrapolation = is_yarn ? 1 : 0;
    rope.beta_fast = m_row.yarn_beta_fast;
    float more = 1;
    if (m_row.yarn_keys) {
        GS_TRY(const double extrapolation, number_or("rope.scaling.yarn_ext_factor", -1));
        if (extrapolation >= 0) rope.extrapolation = static_cast<float>(extrapolation);   // negative: not set
        GS_TRY(rope.beta_fast, positive("rope.scaling.yarn_beta_fast", m_row.yarn_beta_fast));
        GS_TRY(rope.beta_slow, positive("rope.scaling.yarn_beta_slow", 1));
        GS_TRY(more, multiplier("rope.scaling.yarn_attn_factor"));
    }
    rope.yarn = rope.extrapolation != 0;
    const double log_factor = std::log(static_cast<double>(rope.factor));
    double log_multiplier = 0;
    if (m_spec.is_mla()) {
        GS_TRY(log_multiplier, number_or("rope.scaling.yarn_log_multiplier", 0));
        GS_TRY_VOID(scale_latent_softmax(log_factor, log_multiplier));
    }
    // Without YaRN there is no magnitude of its own, which the factor would replace.
    if (!rope.yarn) rope.magnitude *= more;
    else if (log_multiplier == 0) rope.magnitude = static_cast<float>((1 + 0.1 * log_factor) * static_cast<double>(rope.magnitude));
    if (!std::isfinite(rope.magnitude) || !std::isfinite(m_spec.attention_scale)) return bad("rope.scaling.factor", "gives numbers that are not finite");
    return {};
}

/// Section 3.8: with a logarithmic multiplier the softmax is scaled instead of cosine and sine. llama.cpp scales it also by the square of the
/// magnitude that YaRN would have without one, even where the scaling is linear.
Result<void> SpecReader::scale_latent_softmax(double log_factor, double log_multiplier) {
    double m = 1 + log_multiplier * log_factor;
    if (m_row.rope_scales_softmax) {
        m *= static_cast<double>(m_spec.rope.magnitude);
        if (!m_spec.rope.yarn || log_multiplier == 0) m *= 1 + 0.1 * log_factor;
    }
    m_spec.attention_scale = static_cast<float>(m * m * static_cast<double>(m_spec.attention_scale));
    return {};
}

/// Layers with a window or chunks may have a base of their own; their factor holds whatever the type of the scaling.
Result<void> SpecReader::read_local_rope(float factor) {
    if (m_row.attention != AttentionKind::kWindowed && m_row.attention != AttentionKind::kChunked) return {};
    RopeSpec local = m_spec.rope;
    local.factor = factor;
    GS_TRY(local.base, positive("rope.freq_base_swa", static_cast<double>(local.base)));
    if (local != m_spec.rope) m_spec.local_rope = local;
    return {};
}

/// Section 3.7; a scale of 0 or none at all: off.
Result<void> SpecReader::read_temperature() {
    GS_TRY(const double scale, number_or("attention.temperature_scale", 0));
    if (!m_row.temperature || scale == 0) return {};
    GS_TRY(const int length, integer("attention.temperature_length", 1, kMaxContext));
    m_spec.query_growth = {.per_step = scale, .step = static_cast<double>(length), .offset = 0};
    for (LayerAttention& layer : m_spec.attention) layer.grows = true;
    return {};
}

Result<void> SpecReader::read_layers() {
    m_spec.attention.assign(static_cast<size_t>(m_spec.n_layers), {});
    if (m_row.attention == AttentionKind::kWindowed) return read_windows();
    if (m_row.attention == AttentionKind::kChunked) return read_chunks();
    constexpr const char* kSwitch = "rope.scaling.finetuned";
    if (m_row.rope_switch && has(kSwitch)) {
        GS_TRY(const bool rotates, m_file.get_bool(key(kSwitch)));
        for (LayerAttention& layer : m_spec.attention) layer.rotates = rotates;
    }
    return read_temperature();
}

/// Section 7.6: a window of 0 means neither chunks nor layers without rotation; any other value is ignored.
Result<void> SpecReader::read_chunks() {
    constexpr int kChunk = 8192, kPeriod = 4;
    GS_TRY(const int window, integer_or("attention.sliding_window", 0, kMaxContext, kChunk));
    for (int l = 0; l < m_spec.n_layers && window != 0; ++l) {
        const bool full = (l + 1) % kPeriod == 0;
        m_spec.attention[static_cast<size_t>(l)] = {.chunk = full ? 0 : kChunk, .rotates = !full, .grows = full};
    }
    return {};
}

/// sliding_window_pattern: a period of which the last layer sees all, or a flag a layer.
Result<void> SpecReader::read_windows() {
    constexpr const char* kPattern = "attention.sliding_window_pattern";
    GS_TRY(const int window, integer_or("attention.sliding_window", 0, kMaxContext, 0));
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
