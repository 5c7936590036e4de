// How many layers a device is given, against sums over the tensors of the file.
#include "engine/run/plan_layers.h"

#include "engine/model/gguf.h"
#include "tests/decode/decoder_fixture.h"

namespace gs {
namespace {

using namespace test;

/// A back end that says how much memory it has, and what a copy of a weight takes there.
class Device final : public ForwardingOps {
public:
    explicit Device(uint64_t free, uint64_t growth = 1) : ForwardingOps(make_reference_ops()), m_free(free), m_growth(growth) {}
    std::optional<uint64_t> free_memory() const override { return m_free; }
    uint64_t adopted_bytes(const Weight& w) const override { return m_growth * w.n_bytes(); }

private:
    uint64_t m_free, m_growth;
};

const DecoderOptions kOptions{.n_ctx = 300, .max_batch = 16};

/// Tensors of layers first .. and all others behind them; of the embedding too where it has to be there.
uint64_t file_bytes(const Model& model, int first) {
    const Result<GgufFile> file = GgufFile::open(model.path);
    EXPECT_TRUE(file);
    uint64_t sum = 0;
    bool has_head = false;
    for (const GgufTensor& t : file->tensors()) has_head = has_head || t.name == "output.weight";
    for (const GgufTensor& t : file->tensors()) {
        const bool in_layer = t.name.starts_with("blk.");
        const bool embeds = t.name == "token_embd.weight";
        const bool there = in_layer ? std::stoi(t.name.substr(4)) >= first : !embeds || first == 0 || !has_head;
        if (there) sum += t.n_bytes;
    }
    return sum;
}

uint64_t needed(const Model& model, int first, const DecoderOptions& options = kOptions) {
    const ModelSpec& s = model.spec;
    const auto n = static_cast<uint64_t>(s.n_layers - first);
    const uint64_t kv = n * static_cast<uint64_t>(options.n_ctx) * static_cast<uint64_t>(s.n_kv_heads * (s.head_dim_k + s.head_dim_v)) * sizeof(float);
    const StageMemory memory = stage_memory(s, first, s.n_layers, KvType::kF32, options);
    EXPECT_EQ(memory.kv_bytes, kv);
    return file_bytes(model, first) + kv + 2 * memory.work_bytes;
}

/// The least free memory of which `bytes` are left when the reserve, a sixteenth, is taken off.
uint64_t free_for(uint64_t bytes) {
    uint64_t free = bytes * 16 / 15 - 32;
    while (free - free / 16 < bytes) ++free;
    return free;
}

LayerPlan plan_for(const Model& model, const Device& device, const DecoderOptions& options = kOptions) {
    return plan_layers(model.spec, model.weights, device, options);
}

TEST(PlanLayers, GivesTheDeviceAsManyOfTheLastLayersAsFit) {
    // The bundled model's head is the embedding; mixtral's is a matrix of its own.
    for (const auto& model : {bundled_model(), golden_model("mixtral")}) {
        const int n_layers = model->spec.n_layers;
        for (const int first : {0, 1, n_layers / 2, n_layers - 1}) {
            const uint64_t free = free_for(needed(*model, first));
            const LayerPlan fits = plan_for(*model, Device(free)), short_of_it = plan_for(*model, Device(free - 1));
            EXPECT_EQ(fits.n_on_device, n_layers - first) << model->spec.name;
            EXPECT_EQ(short_of_it.n_on_device, n_layers - first - 1) << model->spec.name;
            EXPECT_EQ(fits.device_bytes, needed(*model, first));
            EXPECT_EQ(fits.whole_bytes, needed(*model, 0));
            EXPECT_EQ(fits.least_bytes, needed(*model, n_layers - 1));
        }
        EXPECT_EQ(plan_for(*model, Device(0)).n_on_device, 0);
        EXPECT_TRUE(plan_for(*model, Device(uint64_t{1} << 40)).is_whole());
    }
}

TEST(PlanLayers, LeavesHalfAGigabyteOfALargeDevice) {
    const auto model = golden_model("mixtral");
    const uint64_t reserve = uint64_t{512} << 20, room = uint64_t{16} << 30;
    // Weights blown up so that the whole model takes what is left of 16 GiB.
    const uint64_t weights = file_bytes(*model, 0), growth = (room - reserve - (needed(*model, 0) - weights)) / weights;
    EXPECT_TRUE(plan_for(*model, Device(room, growth)).is_whole());
    EXPECT_FALSE(plan_for(*model, Device(room, growth + 1)).is_whole());
}

TEST(PlanLayers, NamesAShorterContextThatLetsMoreLayersFit) {
    const auto model = bundled_model();
    const DecoderOptions large{.n_ctx = 4096, .max_batch = 16};
    const Device device(free_for(needed(*model, model->spec.n_layers / 2, large)));
    const LayerPlan plan = plan_for(*model, device, large);
    EXPECT_EQ(plan.n_on_device, model->spec.n_layers - model->spec.n_layers / 2);
    ASSERT_GT(plan.shorter_n_ctx, 0);
    EXPECT_GT(plan.n_with_shorter, plan.n_on_device);
    DecoderOptions shorter = large;
    shorter.n_ctx = plan.shorter_n_ctx;
    EXPECT_EQ(plan_for(*model, device, shorter).n_on_device, plan.n_with_shorter);
    shorter.n_ctx = 2 * plan.shorter_n_ctx;
    EXPECT_EQ(plan_for(*model, device, shorter).n_on_device, plan.n_on_device) << "the longest of the halves";
    // Where weights are all that counts, no context helps.
    EXPECT_EQ(plan_for(*model, Device(0), large).shorter_n_ctx, 0);
    EXPECT_EQ(plan_for(*model, Device(uint64_t{1} << 40), large).shorter_n_ctx, 0);
}

TEST(PlanLayers, IsSaidInASentence) {
    LayerPlan plan{.n_layers = 48, .n_on_device = 12, .n_ctx = 8192, .free_bytes = 8'000'000'000, .least_bytes = 900'000'000};
    EXPECT_EQ(to_sentence(plan, 12, "cuda X"), "12 of 48 layers are on cuda X");
    plan.shorter_n_ctx = 2048;
    plan.n_with_shorter = 16;
    EXPECT_EQ(to_sentence(plan, 12, "cuda X"), "12 of 48 layers are on cuda X; a context of 2048 would let 16 fit");
    EXPECT_EQ(to_sentence(plan, 20, "cuda X"), "20 of 48 layers are on cuda X") << "as many as were asked for";
    EXPECT_EQ(to_sentence(plan, 48, "cuda X"), "all 48 layers are on cuda X");
    plan.n_with_shorter = 0;
    EXPECT_EQ(to_sentence(plan, 0, "cuda X"), "no layer fits cuda X: one and the head take 900 MB and 8000 MB are free");
}

TEST(PlanLayers, TriesFewerUntilNoneIsLeft) {
    int n = 48, n_tries = 0;
    for (; n > 0; ++n_tries) {
        const int fewer = fewer_layers(n);
        EXPECT_LT(fewer, n);
        n = fewer;
    }
    EXPECT_EQ(n, 0);
    EXPECT_LT(n_tries, 16);
}

}  // namespace
}  // namespace gs
