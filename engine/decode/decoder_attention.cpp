// The first half of a layer: queries, keys and values of ordinary and of latent attention (spec/moe-families.md section 3).
#include "engine/decode/decoder_stage.h"

namespace gs {

void DecoderStage::attention_block(int l, int n_rows, int position) {
    const ModelSpec& s = spec();
    const LayerWeights& w = layer(l);
    const Rows out = sub.rows(n_rows);
    if (s.is_mla()) project_latent(l, n_rows, position);
    else project_heads(l, n_rows, position);
    ops->store_kv(cache, local(l), position, k.rows(n_rows), v.rows(n_rows));
    ops->attention({.q = q.rows(n_rows), .cache = &cache, .layer = local(l), .first_position = position, .n_heads = s.n_heads, .head_dim_v = s.head_dim_v, .scale = s.attention_scale, .cap = s.attention_cap, .begin = shared.begin,
                    .span = s.attention[static_cast<size_t>(l)], .sinks = w.sinks ? &w.sinks : nullptr, .out = attended.rows(n_rows)});
    if (s.is_mla()) expand_latent(l, n_rows);
    const LinearCall project{.weight = &w.attn_out, .bias = &w.attn_out_bias, .out = out};
    ops->linear(s.is_mla() ? head_values.rows(n_rows) : attended.rows(n_rows), {&project, 1});
    if (w.attn_post_norm) ops->norm(norm_of(out, w.attn_post_norm, nullptr, out));
    ops->add(x.rows(n_rows), out, s.residual_scale);
}

void DecoderStage::project_heads(int l, int n_rows, int position) {
    const ModelSpec& s = spec();
    const LayerWeights& w = layer(l);
    const Rows rq = q.rows(n_rows), rk = k.rows(n_rows), rv = v.rows(n_rows);
    const LinearCall qkv[] = {{.weight = &w.q, .bias = &w.q_bias, .out = rq},
                              {.weight = &w.k, .bias = &w.k_bias, .out = rk},
                              {.weight = &w.v, .bias = &w.v_bias, .out = rv}};
    ops->norm_linear(attn_norm(l, n_rows), qkv);
    if (s.clamp_qkv > 0)
        for (const Rows& rows : {rq, rk, rv}) ops->clamp(rows, s.clamp_qkv);
    const bool rotates = s.attention[static_cast<size_t>(l)].rotates;
    const bool before = s.qk_norm == QkNorm::kPerHead || s.qk_norm == QkNorm::kFullWidth;
    const bool after = s.qk_norm == QkNorm::kPerHeadAfterRope || (s.qk_norm == QkNorm::kPlainAfterRope && rotates);
    if (before && w.q_norm) norm_queries_and_keys(w, rq, rk);
    if (rotates) {
        rotate(l, rq, s.n_heads, s.head_dim_k, position);
        rotate(l, rk, s.n_kv_heads, s.head_dim_k, position);
    }
    if (after) norm_queries_and_keys(w, rq, rk);
    grow_queries(l, rq, position);
}

/// Section 3.1; RMS whatever the other norms are.
void DecoderStage::norm_queries_and_keys(const LayerWeights& w, Rows rq, Rows rk) {
    const int group = spec().qk_norm == QkNorm::kFullWidth ? 0 : spec().head_dim_k;
    ops->norm({.x = rq, .weight = &w.q_norm, .eps = spec().norm_eps, .group = group, .out = rq});
    ops->norm({.x = rk, .weight = &w.k_norm, .eps = spec().norm_eps, .group = group, .out = rk});
}

void DecoderStage::rotate(int l, Rows heads, int n_heads, int head_dim, int position) {
    const ModelWeights& w = weights();
    ops->rope(spec().rope_of(l), shared.long_context ? w.rope_freqs_long : w.rope_freqs, heads, n_heads, head_dim, position);
}

/// Section 3.7.
void DecoderStage::grow_queries(int l, Rows rq, int position) {
    if (spec().attention[static_cast<size_t>(l)].grows) ops->grow(rq, spec().query_growth, position);
}

/// Section 3.8, absorbed form: a query head is its content part in the space of the compressed keys, then its rotated part; the one key head is the
/// compressed key with the rotated part that all heads share.
void DecoderStage::project_latent(int l, int n_rows, int position) {
    const ModelSpec& s = spec();
    const MlaSpec& mla = s.mla;
    const LayerWeights& w = layer(l);
    const int n_rot = s.rope.n_rot, head_dim = mla.nope_dim + n_rot;
    const Rows heads = q_heads.rows(n_rows), rq = q.rows(n_rows), rk = k.rows(n_rows);
    const Rows low = q_low.rows(n_rows), content = rk.columns(0, mla.kv_rank);
    const LinearCall down[] = {{.weight = &w.mla.kv_a, .out = rk}, {.weight = mla.q_rank > 0 ? &w.mla.q_a : &w.q, .out = mla.q_rank > 0 ? low : heads}};
    ops->norm_linear(attn_norm(l, n_rows), down);
    if (mla.q_rank > 0) {
        ops->norm({.x = low, .weight = &w.mla.q_a_norm, .eps = s.norm_eps, .out = low});
        const LinearCall up{.weight = &w.q, .out = heads};
        ops->linear(low, {&up, 1});
    }
    ops->norm({.x = content, .weight = &w.mla.kv_a_norm, .eps = s.norm_eps, .out = content});
    rotate(l, rk.columns(mla.kv_rank, n_rot), 1, n_rot, position);
    rotate(l, heads.columns(mla.nope_dim, heads.n_cols - mla.nope_dim), s.n_heads, head_dim, position);
    for (int h = 0; h < s.n_heads; ++h) {
        const Rows nope = heads.columns(h * head_dim, mla.nope_dim), turned = heads.columns(h * head_dim + mla.nope_dim, n_rot);
        const Rows to = rq.columns(h * s.head_dim_k, mla.kv_rank), to_turned = rq.columns(h * s.head_dim_k + mla.kv_rank, n_rot);
        const Weight k_b = w.mla.k_b.slab(h);
        const LinearCall absorb{.weight = &k_b, .out = to};
        if (w.mla.k_b_transposed) ops->linear_transposed(nope, k_b, to);
        else ops->linear(nope, {&absorb, 1});
        ops->copy(turned, to_turned);
    }
    grow_queries(l, rq, position);
}

/// Each head's mix of compressed values to a value of its own.
void DecoderStage::expand_latent(int l, int n_rows) {
    const ModelSpec& s = spec();
    for (int h = 0; h < s.n_heads; ++h) {
        const Weight v_b = layer(l).mla.v_b.slab(h);
        const LinearCall expand{.weight = &v_b, .out = head_values.rows(n_rows).columns(h * s.mla.value_dim, s.mla.value_dim)};
        ops->linear(attended.rows(n_rows).columns(h * s.head_dim_v, s.head_dim_v), {&expand, 1});
    }
}

}  // namespace gs
