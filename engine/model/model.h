// A loaded model: spec, weights, tokenizer, chat template, over one mapped file.
//
//   GS_TRY(ModelEstimate e, estimate_model("m.gguf", 4096));     // before anything is loaded
//   GS_TRY(auto model, Model::load("m.gguf", {}));
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/cancel.h"
#include "engine/core/result.h"
#include "engine/model/gguf.h"
#include "engine/model/kv_type.h"
#include "engine/model/model_spec.h"
#include "engine/model/tokenizer.h"
#include "engine/model/weights.h"

namespace gs {

/// Bytes a model will need, known from the header alone.
struct ModelEstimate {
    ModelSpec spec;
    uint64_t file_bytes = 0;
    uint64_t weight_bytes = 0;          ///< tensors in use, mapped from the file
    uint64_t kv_bytes = 0;              ///< K and V for n_ctx positions
    uint64_t work_bytes = 0;            ///< activations of one batch
    uint64_t total_params = 0, active_params = 0, lookup_params = 0;   ///< lookup: see Model
    uint64_t dense_bytes_per_token = 0, expert_bytes = 0;              ///< see Model
    uint64_t memory_available = 0;      ///< of this machine (MemAvailable), 0 if unknown
    uint64_t total() const { return weight_bytes + kv_bytes + work_bytes; }
};

struct LoadOptions {
    int n_ctx = 0;                                        ///< context to configure; 0 = min(trained, 4096)
    Reading reading = Reading::kLlamaCpp;
    KvType kv_type = KvType::kF16;                        ///< that will be asked for: decides whether the context fits
    std::function<void(uint64_t done, uint64_t total)> progress;   ///< bytes of weights brought into memory; called from the loading thread
    const CancelFlag* cancel = nullptr;                   ///< polled at least every 20 ms
};

class Model {
public:
    /// Errors: kInput with the class in `code` (see GgufFile::open; "missing_key", "missing_tensor", "shape_mismatch",
    /// "unsupported_architecture", "unsupported_layout", "bad_tokenizer", …), kRun "out_of_memory", kCancelled.
    static Result<std::shared_ptr<const Model>> load(const std::filesystem::path& path, const LoadOptions& options);

    ModelSpec spec;
    ModelWeights weights;
    std::unique_ptr<const Tokenizer> tokenizer;
    std::string chat_template;          ///< Jinja source from the file, or empty; never executed
    std::filesystem::path path;
    std::string hash;                   ///< XXH3-128 of header, tensor table and samples of every tensor: identity, not integrity
    uint64_t file_bytes = 0;
    uint64_t total_params = 0, active_params = 0;
    uint64_t lookup_params = 0;         ///< of both: an embedding that is not the head too, of which a token reads one row
    uint64_t weight_bytes = 0;          ///< all tensors in use
    uint64_t dense_bytes_per_token = 0; ///< weight bytes every token reads: all but routed experts and unused embedding rows
    uint64_t expert_bytes = 0;          ///< one routed expert of one MoE layer
    std::vector<std::string> warnings;  ///< for stderr and the window: "unknown pre-tokenizer …, using default"
    int n_ctx = 0;

    /// These bytes of the file will hardly be read again: their pages need not stay in memory. They come back when they are.
    void forget(std::span<const std::byte> bytes) const;

    Model() = default;
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

private:
    std::unique_ptr<GgufFile> m_file;   ///< keeps the mapping alive
};

Result<ModelEstimate> estimate_model(const std::filesystem::path& path, int n_ctx, KvType kv_type = KvType::kF16);
/// Spec, weights and sizes from an open file, every shape checked against the metadata (R20, R22) before any use.
Result<ModelSpec> read_model_spec(const GgufFile& file, Reading reading = Reading::kLlamaCpp);
Result<ModelWeights> bind_weights(const GgufFile& file, ModelSpec& spec, std::vector<std::string>& warnings);
/// Architectures this build can run, for messages: "granitemoe, llama, olmoe, …".
std::string supported_architectures();

}  // namespace gs
