// The router's part of a ModelSpec (spec/moe-families.md sections 1.4, 2 and 5).
#include "engine/model/spec_reader.h"

namespace gs {

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
    GS_TRY_VOID(read_score());
    GS_TRY_VOID(read_weights_rule());
    GS_TRY_VOID(read_groups());
    if (m_row.deepseek_groups) set_deepseek_groups();
    return {};
}

Result<void> SpecReader::read_score() {
    constexpr const char* kKey = "expert_gating_func";
    constexpr ScoreFn kByNumber[] = {ScoreFn::kSoftmax, ScoreFn::kSoftmax, ScoreFn::kSigmoid, ScoreFn::kSoftmaxAfterTopK, ScoreFn::kSqrtSoftplus};
    RouterSpec& router = m_spec.router;
    router.score = m_row.score;
    router.select_by_logits = router.weigh_input = m_row.weigh_input;
    if (m_row.gating == GatingKey::kMustChoose && !has(kKey)) return gguf_error("missing_key", fmt::format("the metadata key {} is missing", key(kKey)));
    GS_TRY(const int number, integer_or(kKey, 0, 255, 0));
    if (number > 4) return gguf_error("unsupported_layout", fmt::format("{} is {}, which is not known", key(kKey), number));
    if (m_row.gating != GatingKey::kMustAgree) {
        // 7.5: files of two models that share this architecture lack the key and are told by their shape.
        const bool is_glm_flash = (m_spec.n_layers == 47 || m_spec.n_layers == 48) && m_spec.n_vocab == 154880;
        if (number != 0) router.score = kByNumber[number];
        else if (m_row.attention == AttentionKind::kLatent && is_glm_flash) router.score = ScoreFn::kSigmoid;
        return {};
    }
    // llama.cpp would ignore the key.
    if (number != 0 && kByNumber[number] != m_published.score)
        return gguf_error("unsupported_layout", fmt::format("{} is {}; {} models route otherwise", key(kKey), number, m_row.architecture));
    return {};
}

Result<void> SpecReader::read_weights_rule() {
    RouterSpec& router = m_spec.router;
    router.renormalise = m_row.renormalise == Renormalise::kAlways;
    if (m_row.renormalise == Renormalise::kByKey && has("expert_weights_norm")) {
        GS_TRY(router.renormalise, m_file.get_bool(key("expert_weights_norm")));
    }
    router.norm_floor = m_row.norm_floor;
    router.norm_epsilon = m_row.norm_epsilon;
    if (m_row.expert_scale) {
        GS_TRY(router.scale, multiplier("expert_weights_scale"));
    }
    return {};
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

/// Section 7.5: files from before autumn 2025 lack the groups; DeepSeek-V2 (softmax) scores a group by its best expert, and scales only what it
/// does not renormalise.
void SpecReader::set_deepseek_groups() {
    RouterSpec& router = m_spec.router;
    const bool is_v2 = router.score == ScoreFn::kSoftmax;
    if (is_v2) router.group_score = GroupScore::kMax;
    if (is_v2 && router.renormalise && router.n_used > 1) router.scale = 1;
    if (has("expert_group_count")) return;
    const bool biased = m_file.find(fmt::format("blk.{}.exp_probs_b.bias", m_spec.n_layers - 1)) != nullptr;
    if (router.n_experts == 256 && router.n_used == 8 && biased) {
        router.n_groups = 8;
        router.n_groups_used = 4;
    } else if (router.n_experts == 160 && router.n_used == 6 && is_v2) {
        router.n_groups = 8;
        router.n_groups_used = 3;
    }
}

}  // namespace gs
