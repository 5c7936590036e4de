#include "engine/model/model.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>

#include "engine/model/gguf_part.h"
#include "engine/model/model_sizes.h"

namespace gs {
namespace {

constexpr int kDefaultContext = 4096;

Error cancelled() { return {ErrorKind::kCancelled, "cancelled", "Loading was stopped", "it was cancelled", ""}; }

std::string size_text(uint64_t bytes) {
    if (bytes >= 1'000'000'000) return fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9);
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

/// The file's name in an error raised below, where only its contents are known.
Error name_file(Error error, const std::filesystem::path& path) {
    if (error.kind == ErrorKind::kInput) error.what = "Cannot load " + sanitise_for_display(path.filename().string());
    return error;
}

Result<int> choose_context(const ModelSpec& spec, int asked) {
    if (asked < 0) return Error{ErrorKind::kUsage, "bad_value", "Cannot configure the context", fmt::format("{} positions were asked for", asked), "Give a positive number."};
    return asked > 0 ? asked : std::min(spec.n_ctx_train, kDefaultContext);
}

/// Keys, values and activations must fit in memory; weights are mapped and may be larger than it.
Result<void> check_memory(const ModelSpec& spec, const ModelSizes& sizes, int n_ctx, KvType kv_type, uint64_t available) {
    const uint64_t kv = kv_bytes(spec, static_cast<uint64_t>(n_ctx), kv_type), work = work_bytes(spec);
    if (available == 0 || (kv <= available && work <= available - kv)) return {};
    const uint64_t fitting = work < available ? (available - work) / kv_bytes(spec, 1, kv_type) : 0;
    return Error{ErrorKind::kRun, "out_of_memory", "Not enough memory for this model",
                 fmt::format("a context of {} needs {} for keys and values and {} for activations (and {} of mapped weights); {} are available", n_ctx,
                             size_text(kv), size_text(work), size_text(sizes.weight_bytes), size_text(available)),
                 fitting > 0 ? fmt::format("A context of up to {} fits.", fitting) : "Close other programs, or use a smaller model."};
}

/// Brings the weights into memory in file order.
Result<void> prefetch(const GgufFile& file, const LoadOptions& options) {
    // The poll bounds how late a cancel is seen: 256 KiB are 13 ms at 20 MB/s.
    constexpr uint64_t kPoll = 256 << 10, kReadAhead = 4 << 20;
    static const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    uint64_t total = 0, done = 0;
    for (const GgufTensor& tensor : file.tensors()) total += tensor.n_bytes;
    for (const GgufTensor& tensor : file.tensors()) {
        for (uint64_t at = 0; at < tensor.n_bytes; at += kPoll) {
            if (options.cancel && options.cancel->is_set()) return cancelled();
            const uint64_t end = std::min(at + kPoll, tensor.n_bytes);
            if (at % kReadAhead == 0) {
                const auto start = reinterpret_cast<uintptr_t>(tensor.data + at) / page * page;
                madvise(reinterpret_cast<void*>(start), std::min(kReadAhead, tensor.n_bytes - at) + page, MADV_WILLNEED);   // only advice: may fail
            }
            for (uint64_t i = at; i < end; i += page) static_cast<void>(*static_cast<const volatile std::byte*>(tensor.data + i));
            done += end - at;
            if (options.progress) options.progress(done, total);
        }
    }
    return {};
}

/// Header and tensor table in full, three samples of every tensor: tells models apart, does not prove that nothing was changed.
std::string identity_hash(const GgufFile& file) {
    constexpr uint64_t kSample = 4096;
    const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
    GS_CHECK(state, "no memory for a hash state");
    XXH3_128bits_reset(state.get());
    for (const std::span<const std::byte> header : file.headers()) XXH3_128bits_update(state.get(), header.data(), header.size());
    for (const GgufTensor& tensor : file.tensors()) {
        const uint64_t n = std::min(kSample, tensor.n_bytes), rest = tensor.n_bytes - n;
        for (const uint64_t at : {uint64_t{0}, rest / 2, rest}) XXH3_128bits_update(state.get(), tensor.data + at, n);
    }
    const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

Result<void> check_unchanged(const GgufFile& file) {
    if (!file.shrank()) return {};
    return gguf_error("data_out_of_bounds", "it became shorter while it was being read");
}

/// Spec, weights and what they add up to, from the header alone.
struct Plan {
    ModelSpec spec;
    ModelWeights weights;
    ModelSizes sizes;
    std::vector<std::string> warnings;
};

Result<Plan> make_plan(const GgufFile& file, Reading reading) {
    Plan plan;
    GS_TRY(plan.spec, read_model_spec(file, reading));
    GS_TRY(plan.weights, bind_weights(file, plan.spec, plan.warnings));
    plan.sizes = measure_model(plan.spec, plan.weights);
    return plan;
}

/// As if every byte of the file were as likely to be in memory as any other.
std::string too_large_warning(const Plan& plan, uint64_t available) {
    const ModelSizes& sizes = plan.sizes;
    const auto n_experts = static_cast<uint64_t>(plan.spec.is_moe() ? plan.spec.router.n_used : 0) * plan.spec.moe_layers.size();
    const uint64_t per_token = sizes.dense_bytes_per_token + sizes.expert_bytes * n_experts;
    const double missing = 1 - static_cast<double>(available) / static_cast<double>(sizes.weight_bytes);
    const auto from_disk = static_cast<uint64_t>(static_cast<double>(per_token) * missing);
    return fmt::format("the weights ({}) are larger than the memory available ({}): of the {} that a token reads, about {} come from disk each time, "
                       "which takes {:.1f} s from a disk of 1 GB/s",
                       size_text(sizes.weight_bytes), size_text(available), size_text(per_token), size_text(from_disk), static_cast<double>(from_disk) / 1e9);
}

}  // namespace

void Model::forget(std::span<const std::byte> bytes) const {
    if (m_file) m_file->forget(bytes);
}

Result<std::shared_ptr<const Model>> Model::load(const std::filesystem::path& path, const LoadOptions& options) {
    if (options.cancel && options.cancel->is_set()) return cancelled();
    GS_TRY(GgufFile file, GgufFile::open(path));
    Result<Plan> plan = make_plan(file, options.reading);
    if (!plan) return name_file(plan.error(), path);
    auto model = std::make_shared<Model>();
    GS_TRY(model->n_ctx, choose_context(plan->spec, options.n_ctx));
    const uint64_t available = available_memory();
    GS_TRY_VOID(check_memory(plan->spec, plan->sizes, model->n_ctx, options.kv_type, available));
    if (options.cancel && options.cancel->is_set()) return cancelled();
    auto tokenizer = Tokenizer::create(file, plan->warnings);
    if (!tokenizer) return name_file(tokenizer.error(), path);
    model->tokenizer = std::move(*tokenizer);

    if (model->n_ctx > plan->spec.n_ctx_train)
        plan->warnings.push_back(fmt::format("the context of {} is longer than the {} the model was trained with", model->n_ctx, plan->spec.n_ctx_train));
    if (available > 0 && plan->sizes.weight_bytes > available) {
        plan->warnings.push_back(too_large_warning(*plan, available));
    } else {
        GS_TRY_VOID(prefetch(file, options));
    }
    model->hash = identity_hash(file);
    if (const Result<void> unchanged = check_unchanged(file); !unchanged) return name_file(unchanged.error(), path);

    if (const Result<std::string_view> chat = file.get_string("tokenizer.chat_template")) model->chat_template = *chat;
    model->spec = std::move(plan->spec);
    model->weights = std::move(plan->weights);
    model->warnings = std::move(plan->warnings);
    model->path = path;
    model->file_bytes = file.n_bytes();
    model->total_params = plan->sizes.total_params;
    model->active_params = plan->sizes.active_params;
    model->lookup_params = plan->sizes.lookup_params;
    model->weight_bytes = plan->sizes.weight_bytes;
    model->dense_bytes_per_token = plan->sizes.dense_bytes_per_token;
    model->expert_bytes = plan->sizes.expert_bytes;
    model->m_file = std::make_unique<GgufFile>(std::move(file));
    return std::shared_ptr<const Model>(std::move(model));
}

Result<ModelEstimate> estimate_model(const std::filesystem::path& path, int n_ctx, KvType kv_type) {
    GS_TRY(const GgufFile file, GgufFile::open(path));
    Result<Plan> plan = make_plan(file, Reading::kLlamaCpp);   // sizes are the same in any reading
    if (!plan) return name_file(plan.error(), path);
    GS_TRY(const int context, choose_context(plan->spec, n_ctx));
    ModelEstimate estimate;
    estimate.file_bytes = file.n_bytes();
    estimate.weight_bytes = plan->sizes.weight_bytes;
    estimate.kv_bytes = kv_bytes(plan->spec, static_cast<uint64_t>(context), kv_type);
    estimate.work_bytes = work_bytes(plan->spec);
    estimate.total_params = plan->sizes.total_params;
    estimate.active_params = plan->sizes.active_params;
    estimate.lookup_params = plan->sizes.lookup_params;
    estimate.dense_bytes_per_token = plan->sizes.dense_bytes_per_token;
    estimate.expert_bytes = plan->sizes.expert_bytes;
    estimate.memory_available = available_memory();
    estimate.spec = std::move(plan->spec);
    return estimate;
}

}  // namespace gs
