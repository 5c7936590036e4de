// Loading: the bundled model against its card, sizes against the formulas, progress, cancel, memory.
#include "engine/model/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "engine/model/model_sizes.h"
#include "tests/model/family_files.h"
#include "tests/support/paths.h"

namespace gs {
namespace {

std::shared_ptr<const Model> bundled() {
    static const auto model = Model::load(GATESCOPE_BUNDLED_MODEL, {});
    EXPECT_TRUE(model) << model.error().message();
    return model ? *model : nullptr;
}

// Numbers of assets/models/gatescope-smol-moe.md.
TEST(Model, TheBundledOneIsWhatItsCardSays) {
    const auto model = bundled();
    ASSERT_TRUE(model);
    const ModelSpec& spec = model->spec;
    EXPECT_EQ(spec.architecture, "granitemoe");
    EXPECT_EQ(spec.family, "Granite MoE");
    EXPECT_EQ(spec.name, "SmolLM2-135M-MoE16 (carved)");
    EXPECT_EQ(spec.n_layers, 30);
    EXPECT_EQ(spec.n_embd, 576);
    EXPECT_EQ(spec.n_heads, 9);
    EXPECT_EQ(spec.n_kv_heads, 3);
    EXPECT_EQ(spec.n_vocab, 49152);
    EXPECT_EQ(spec.router.n_experts, 16);
    EXPECT_EQ(spec.router.n_used, 4);
    EXPECT_EQ(spec.expert_ff, 32);
    EXPECT_EQ(spec.shared_ff, 1024);
    EXPECT_EQ(spec.attention_scale, 0.125f);
    EXPECT_EQ(spec.moe_layers.size(), 30u);
    EXPECT_EQ(spec.moe_layers.back(), 29);
    EXPECT_EQ(model->weights.layers[5].experts.up.type, TensorType::kIQ4_NL);
    EXPECT_EQ(model->weights.token_embedding.type, TensorType::kQ5_0);
    EXPECT_EQ(model->weights.output.data, model->weights.token_embedding.data) << "tied";
    EXPECT_EQ(model->n_ctx, 4096) << "the default, below the 8192 trained";
    EXPECT_NE(model->chat_template.find("<|im_start|>"), std::string::npos);
    EXPECT_EQ(model->tokenizer->n_tokens(), 49152);
}

TEST(Model, SizesFollowFromTheShapes) {
    const auto model = bundled();
    ASSERT_TRUE(model);
    const uint64_t n_layers = 30, width = 576, n_vocab = 49152, ffn = 3 * width * 1536, attention = 2 * width * width + 2 * width * 192;
    const uint64_t norms = (2 * n_layers + 1) * width, routers = n_layers * 16 * width;
    EXPECT_EQ(model->total_params, n_vocab * width + n_layers * (attention + ffn) + norms + routers);
    EXPECT_EQ(model->total_params - model->active_params, n_layers * 12 * 3 * width * 32) << "12 of 16 experts of width 32 rest";
    const auto file = GgufFile::open(GATESCOPE_BUNDLED_MODEL);
    ASSERT_TRUE(file);
    uint64_t all = 0, experts = 0;
    for (const GgufTensor& tensor : file->tensors()) {
        all += tensor.n_bytes;
        if (tensor.name.find("_exps") != std::string::npos) experts += tensor.n_bytes;
    }
    EXPECT_EQ(model->expert_bytes, experts / (n_layers * 16));
    // The embedding is the output head, read in full, plus one row looked up.
    EXPECT_EQ(model->dense_bytes_per_token, all - experts + width / 32 * 22);
    EXPECT_EQ(model->file_bytes, std::filesystem::file_size(GATESCOPE_BUNDLED_MODEL));
}

TEST(Model, TheEstimateNeedsOnlyTheHeaderAndAgrees) {
    const auto model = bundled();
    ASSERT_TRUE(model);
    const auto estimate = estimate_model(GATESCOPE_BUNDLED_MODEL, 1000);
    ASSERT_TRUE(estimate) << estimate.error().message();
    EXPECT_EQ(estimate->spec.architecture, "granitemoe");
    EXPECT_EQ(estimate->total_params, model->total_params);
    EXPECT_EQ(estimate->active_params, model->active_params);
    EXPECT_EQ(estimate->file_bytes, model->file_bytes);
    EXPECT_EQ(estimate->kv_bytes, 1000u * 30 * (192 + 192) * 2) << "f16, which the fast precision keeps";
    EXPECT_EQ(estimate_model(GATESCOPE_BUNDLED_MODEL, 1000, KvType::kF32)->kv_bytes, 1000u * 30 * (192 + 192) * 4);
    EXPECT_EQ(estimate->weight_bytes + estimate->kv_bytes + estimate->work_bytes, estimate->total());
    EXPECT_GT(estimate->weight_bytes, estimate->file_bytes * 9 / 10);
    EXPECT_LT(estimate->weight_bytes, estimate->file_bytes);
    EXPECT_EQ(estimate_model(GATESCOPE_BUNDLED_MODEL, 0)->kv_bytes, 4096u * 30 * 384 * 2);
}

TEST(Model, KvSizeSaturatesInsteadOfWrapping) {
    ModelSpec spec;
    spec.n_layers = 512;
    spec.n_kv_heads = 4096;
    spec.head_dim_k = spec.head_dim_v = 65536;
    EXPECT_EQ(kv_bytes(spec, 1, KvType::kF32), 512ull * 4096 * 131072 * 4);
    EXPECT_EQ(kv_bytes(spec, 1ull << 30, KvType::kF16), ~0ull);
}

TEST(Model, ProgressGrowsToTheEndAndCancelStopsIt) {
    uint64_t last = 0, n_calls = 0;
    CancelFlag cancel;
    LoadOptions options;
    options.cancel = &cancel;
    options.progress = [&](uint64_t done, uint64_t total) {
        EXPECT_GT(done, last);
        EXPECT_LE(done, total);
        last = done;
        if (++n_calls == 3) cancel.set();
    };
    const auto stopped = Model::load(GATESCOPE_BUNDLED_MODEL, options);
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::kCancelled);
    EXPECT_EQ(n_calls, 3u);
    EXPECT_LE(last, 3u * (256 << 10));
    cancel.clear();
    last = 0;
    const auto file = GgufFile::open(GATESCOPE_BUNDLED_MODEL);
    const uint64_t all = std::accumulate(file->tensors().begin(), file->tensors().end(), uint64_t{0}, [](uint64_t sum, const GgufTensor& t) { return sum + t.n_bytes; });
    ASSERT_TRUE(Model::load(GATESCOPE_BUNDLED_MODEL, options));
    EXPECT_EQ(last, all);
    cancel.set();
    EXPECT_EQ(Model::load(GATESCOPE_BUNDLED_MODEL, options).error().kind, ErrorKind::kCancelled) << "before anything is read";
}

TEST(Model, AContextTooLargeForMemoryIsRefusedWithSizes) {
    if (available_memory() == 0) GTEST_SKIP() << "this machine does not say how much memory it has";
    LoadOptions options;
    options.n_ctx = 2'000'000'000;   // 46 kB a position: 92 TB
    const auto model = Model::load(GATESCOPE_BUNDLED_MODEL, options);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().kind, ErrorKind::kRun);
    EXPECT_EQ(model.error().code, "out_of_memory");
    EXPECT_NE(model.error().why.find("46080.0 GB"), std::string::npos) << model.error().message();
    EXPECT_NE(model.error().remedy.find("fits"), std::string::npos);
    options.n_ctx = -1;
    EXPECT_EQ(Model::load(GATESCOPE_BUNDLED_MODEL, options).error().kind, ErrorKind::kUsage);
}

// A sparse file: sizes as of a model three times as large as the free memory, next to nothing on disk.
TEST(Model, WeightsLargerThanMemoryAreMappedWithAWarning) {
    const uint64_t available = available_memory();
    if (available == 0) GTEST_SKIP() << "this machine does not say how much memory it has";
    constexpr uint64_t kWidth = 4096, kExperts = 4;
    const uint64_t ff = available / (kWidth * kExperts * sizeof(float)) + 1;   // each of the three stacks fills the memory
    test::GgufBuilder b = test::tiny_model("llama", 1, kWidth);
    b.text("tokenizer.ggml.model", "llama");
    b.array("tokenizer.ggml.scores", GgufValueType::kF32, std::vector<float>(32)).array("tokenizer.ggml.token_type", GgufValueType::kI32, std::vector<int32_t>(32, 1));
    b.hole("blk.0.ffn_gate_exps.weight", {kWidth, ff, kExperts}).hole("blk.0.ffn_up_exps.weight", {kWidth, ff, kExperts});
    b.hole("blk.0.ffn_down_exps.weight", {ff, kWidth, kExperts});
    const test::TempDir dir;
    const auto path = dir / "large.gguf";
    test::write_bytes(path, test::to_text(b.build()));
    std::error_code failed;
    std::filesystem::resize_file(path, b.file_bytes(), failed);
    if (failed) GTEST_SKIP() << "no sparse files here: " << failed.message();
    const auto estimate = estimate_model(path, 64);
    ASSERT_TRUE(estimate) << estimate.error().message();
    EXPECT_GT(estimate->weight_bytes, 3 * available);
    bool touched = false;
    LoadOptions options;
    options.n_ctx = 64;
    options.progress = [&](uint64_t, uint64_t) { touched = true; };
    const auto model = Model::load(path, options);
    if (!model && model.error().code == "out_of_memory") return;   // activations as wide as this may not fit either
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_FALSE(touched) << "bringing it into memory would push out everything else";
    EXPECT_TRUE(std::any_of((*model)->warnings.begin(), (*model)->warnings.end(),
                            [](const std::string& w) { return w.find("larger than the memory") != std::string::npos; }));
}

TEST(Model, ALongerContextThanTrainedIsAWarning) {
    LoadOptions options;
    options.n_ctx = 9000;
    const auto model = Model::load(GATESCOPE_BUNDLED_MODEL, options);
    ASSERT_TRUE(model) << model.error().message();
    EXPECT_EQ((*model)->n_ctx, 9000);
    const auto mentions = [](const std::shared_ptr<const Model>& m, const char* part) {
        return std::any_of(m->warnings.begin(), m->warnings.end(), [&](const std::string& w) { return w.find(part) != std::string::npos; });
    };
    EXPECT_TRUE(mentions(*model, "8192"));
    EXPECT_FALSE(mentions(bundled(), "8192"));
}

TEST(Model, HashFollowsTheContentsNotTheName) {
    const auto model = bundled();
    ASSERT_TRUE(model);
    EXPECT_EQ(model->hash.size(), 32u);
    const auto source = test::golden("models/mixtral/model.gguf");
    const auto first = Model::load(source, {});
    ASSERT_TRUE(first) << first.error().message();
    const test::TempDir dir;
    std::string bytes = test::read_bytes(source);
    test::write_bytes(dir / "copy.gguf", bytes);
    EXPECT_EQ((*Model::load(dir / "copy.gguf", {}))->hash, (*first)->hash);
    EXPECT_NE((*first)->hash, model->hash);
    bytes.back() ^= 1;
    test::write_bytes(dir / "changed.gguf", bytes);
    EXPECT_NE((*Model::load(dir / "changed.gguf", {}))->hash, (*first)->hash) << "the end of the last tensor is sampled";
}

TEST(Model, EveryGoldenModelLoads) {
    for (const std::string& name : test::names_in(test::golden("models"))) {
        const auto model = Model::load(test::golden("models/" + name + "/model.gguf"), {});
        ASSERT_TRUE(model) << model.error().message();
        EXPECT_EQ((*model)->n_ctx, 512) << name;
        EXPECT_EQ((*model)->tokenizer->n_tokens(), (*model)->spec.n_vocab) << name;
    }
}

TEST(Model, AMissingFileIsAnInputError) {
    const auto model = Model::load("/no/such/model.gguf", {});
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().kind, ErrorKind::kInput);
    EXPECT_EQ(model.error().code, "not_found");
    EXPECT_EQ(estimate_model("/no/such/model.gguf", 0).error().code, "not_found");
}

}  // namespace
}  // namespace gs
