#include "tests/fuzz/seeds.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "engine/io/safetensors.h"
#include "engine/io/trace_file.h"
#include "engine/io/trace_schema.h"
#include "engine/model/family_table.h"
#include "tests/fuzz/memory_file.h"
#include "tests/model/family_files.h"
#include "tests/support/make_trace.h"

namespace gs::test {
namespace {

std::string text_of(const Bytes& bytes) { return std::string(to_text(bytes)); }

/// Vocabulary with everything that a byte-level BPE reads.
void add_bpe(GgufBuilder& builder) {
    builder.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2").texts("tokenizer.ggml.merges", {"A B", "AB C"});
    builder.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
    builder.text("tokenizer.chat_template", "<|im_start|>");
}

void add_spm(GgufBuilder& builder) {
    builder.text("tokenizer.ggml.model", "llama").u32("tokenizer.ggml.unknown_token_id", 0);
    std::vector<float> scores(32);
    std::vector<int32_t> kinds(32, 1);
    for (size_t i = 0; i < scores.size(); ++i) scores[i] = -static_cast<float>(i);
    kinds[0] = 2;
    kinds[1] = kinds[2] = 3;
    builder.array("tokenizer.ggml.scores", GgufValueType::kF32, scores).array("tokenizer.ggml.token_type", GgufValueType::kI32, kinds);
}

// What files of one family have in several forms.

GgufBuilder fused() {
    GgufBuilder builder = tiny_model("llama", 2);
    builder.remove_tensor("blk.0.attn_q.weight").remove_tensor("blk.0.attn_k.weight").remove_tensor("blk.0.attn_v.weight");
    builder.tensor("blk.0.attn_qkv.weight", {16, 32}).tensor("blk.0.attn_qkv.bias", {32});
    builder.remove_tensor("blk.1.ffn_gate_exps.weight").remove_tensor("blk.1.ffn_up_exps.weight");
    builder.tensor("blk.1.ffn_gate_up_exps.weight", {16, 64, 4}).remove_tensor("output.weight");
    return builder.f32("llama.rope.scaling.factor", 4).text("llama.rope.scaling.type", "yarn");
}

GgufBuilder quantized() {
    GgufBuilder builder = tiny_model("qwen3moe", 1, 32);
    builder.tensor("blk.0.attn_q.weight", {32, 16}, TensorType::kQ8_0).tensor("blk.0.ffn_gate_exps.weight", {32, 32, 4}, TensorType::kQ4_0);
    builder.tensor("blk.0.ffn_up_exps.weight", {32, 32, 4}, TensorType::kMXFP4).tensor("blk.0.ffn_down_exps.weight", {32, 32, 4}, TensorType::kIQ4_NL);
    return builder.tensor("output.weight", {32, 32}, TensorType::kQ5_1).tensor("token_embd.weight", {32, 32}, TensorType::kBF16);
}

GgufBuilder low_rank_queries(int n_layers) {
    GgufBuilder builder = tiny_model("deepseek2", n_layers);
    for (int layer = 0; layer < n_layers; ++layer) {
        const std::string blk = "blk." + std::to_string(layer) + ".";
        builder.remove_tensor(blk + "attn_q.weight").tensor(blk + "attn_q_a.weight", {16, 4}).tensor(blk + "attn_q_a_norm.weight", {4});
        builder.tensor(blk + "attn_q_b.weight", {4, 16});
    }
    return builder.u32("deepseek2.attention.q_lora_rank", 4);
}

GgufBuilder legacy_latent() {
    GgufBuilder builder = tiny_model("deepseek2");
    builder.remove("deepseek2.attention.key_length_mla").remove("deepseek2.attention.value_length_mla");
    return builder.remove_tensor("blk.0.attn_k_b.weight").remove_tensor("blk.0.attn_v_b.weight").tensor("blk.0.attn_kv_b.weight", {16, 24});
}

GgufBuilder grouped() {
    GgufBuilder builder = tiny_model("deepseek2");
    builder.u32("deepseek2.expert_group_count", 2).u32("deepseek2.expert_group_used_count", 1).u32("deepseek2.expert_gating_func", 2);
    return builder.tensor("blk.0.exp_probs_b.bias", {4}).f32("deepseek2.expert_weights_scale", 2.5f);
}

/// Everything before the data: the tensors' bytes are all zero.
std::string header_of(const GgufBuilder& builder) {
    const Bytes bytes = builder.build();
    const Result<GgufPart> part = parse_gguf_part(bytes);
    GS_CHECK(part, "a seed does not parse");
    return text_of(bytes).substr(0, part->header_bytes);
}

std::string file_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// The same run as a file, and as a description with the values behind it (see trace_fuzz.cpp).
void add_trace(const std::string& name, const MakeTrace& options, std::vector<Seed>& seeds) {
    const std::filesystem::path path = scratch_folder() / "seed.safetensors";
    GS_CHECK(save_trace(make_trace(options), path), "a seed cannot be saved");
    seeds.push_back({name, file_text(path)});
    const Result<SafetensorsFile> file = SafetensorsFile::open(path);
    GS_CHECK(file, "a seed does not load");
    std::string described = file->metadata().at(trace_schema::kKey);
    const std::vector<int64_t>& ids = file->find("expert_ids")->shape;
    const size_t n_text = file->find("text")->bytes.size(), n_prompt = file->find("prompt")->bytes.size();
    for (const size_t n : {size_t{0}, static_cast<size_t>(ids[0]), static_cast<size_t>(ids[1]), static_cast<size_t>(options.router.n_experts),
                           static_cast<size_t>(ids[2]), n_text, n_prompt, static_cast<size_t>(options.selection_bias)})
        described += static_cast<char>(n);
    for (const char* column : {"token_ids", "phases", "special", "policy", "logprob", "entropy", "text_ends", "text", "prompt", "expert_ids",
                               "n_used", "router_logits", "weights", "selection_bias"}) {
        const SafeTensor* tensor = file->find(column);
        if (tensor) described.append(reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size());
    }
    seeds.push_back({name + "-described", described});
}

}  // namespace

std::vector<Seed> trace_seeds() {
    std::vector<Seed> seeds;
    const RouterSpec softmax{.n_experts = 4, .n_used = 2, .renormalise = true};
    const RouterSpec groups{.n_experts = 8, .n_used = 2, .score = ScoreFn::kSigmoid, .renormalise = true, .scale = 2.5f, .n_groups = 4, .n_groups_used = 2};
    add_trace("softmax", {.n_tokens = 3, .n_layers = 2, .n_dense = 1, .router = softmax, .policy = "k=1,k@1=2"}, seeds);
    add_trace("groups", {.n_tokens = 2, .n_layers = 2, .router = groups, .selection_bias = true}, seeds);
    add_trace("mixer", {.n_tokens = 2, .n_layers = 1, .router = {.n_experts = 4, .n_used = 1, .score = ScoreFn::kSparseMixer}, .policy = "soft"}, seeds);
    add_trace("dense", {.n_tokens = 2, .n_layers = 2, .n_dense = 2, .router = {}}, seeds);
    add_trace("empty", {.n_tokens = 0}, seeds);
    return seeds;
}

std::vector<Seed> family_seeds() {
    std::vector<Seed> seeds;
    const auto add = [&](const std::string& name, GgufBuilder builder) {
        seeds.size() % 2 == 0 ? add_bpe(builder) : add_spm(builder);
        seeds.push_back({"family-" + name, header_of(builder)});
    };
    for (const FamilyRow& row : family_table()) add(row.architecture, tiny_model(row.architecture));
    add("fused", fused());
    add("quantized", quantized());
    add("low-rank-queries", low_rank_queries(1));
    // Queries of the second layer straight from the input: refused, the rank is one for all layers.
    add("mixed-queries", low_rank_queries(2).tensor("blk.1.attn_q.weight", {16, 16}));
    add("legacy-latent", legacy_latent());
    add("groups", grouped());
    return seeds;
}

}  // namespace gs::test
