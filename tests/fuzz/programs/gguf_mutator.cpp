// Mutations of GGUF files that keep them well-formed, for the targets gguf and decode. Plain mutations of bytes nearly always break the container;
// these change what it says: values, keys, shapes, types. Half of all inputs are still mutated as bytes.
#include <array>
#include <random>
#include <string>
#include <vector>

#include "engine/model/gguf_part.h"
#include "tests/model/gguf_builder.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed);

namespace gs::test {
namespace {

constexpr size_t kPadding = 64 << 10;   // as in the targets

struct Record {
    std::string key;
    GgufValueType type = GgufValueType::kU32, element = GgufValueType::kU8;
    uint64_t count = 1;
    Bytes values;          ///< without the count
};
struct Model {
    std::vector<Record> records;
    std::vector<GgufTensor> tensors;
    uint32_t version = 3;
};

uint64_t bytes_of_values(const GgufRecord& record) {
    if (record.type == GgufValueType::kString) return record.count;
    if (record.type != GgufValueType::kArray) return gguf_value_bytes(record.type);
    if (record.element != GgufValueType::kString) return record.count * gguf_value_bytes(record.element);
    const std::byte* end = record.data;
    for (uint64_t i = 0; i < record.count; ++i) static_cast<void>(next_gguf_string(end));
    return static_cast<uint64_t>(end - record.data);
}

Model take_apart(const GgufPart& part) {
    Model model{.tensors = part.tensors, .version = part.version};
    for (const GgufRecord& record : part.records)
        model.records.push_back({std::string(record.key), record.type, record.element, record.count, Bytes(record.data, record.data + bytes_of_values(record))});
    return model;
}

Bytes put_together(const Model& model) {
    Bytes out;
    for (const char c : std::string_view("GGUF")) put(out, c);
    put(out, model.version);
    put<uint64_t>(out, model.tensors.size());
    put<uint64_t>(out, model.records.size());
    for (const Record& record : model.records) {
        put_text(out, record.key);
        put(out, record.type);
        if (record.type == GgufValueType::kArray) put(out, record.element);
        if (record.type == GgufValueType::kArray || record.type == GgufValueType::kString) put(out, record.count);
        out.insert(out.end(), record.values.begin(), record.values.end());
    }
    uint64_t offset = 0;
    for (const GgufTensor& tensor : model.tensors) {
        put_text(out, tensor.name);
        put(out, static_cast<uint32_t>(tensor.n_dims));
        for (int d = 0; d < tensor.n_dims; ++d) put(out, tensor.dims[static_cast<size_t>(d)]);
        put(out, tensor.type);
        put(out, offset);
        const TensorTypeInfo& type = tensor_type_info(tensor.type);
        uint64_t n = tensor.dims[0] / type.block_values * type.block_bytes;
        for (size_t d = 1; d < 4; ++d) n *= tensor.dims[d];   // may wrap; such a file is refused by its size
        offset += (n + 31) / 32 * 32;
    }
    return out;
}

class Mutator {
public:
    Mutator(Model& model, unsigned seed) : m_model(model), m_random(seed) {}

    void run() {
        for (size_t n = 1 + below(3); n > 0; --n) {
            switch (below(9)) {
                case 0:
                case 1: change_value(); break;
                case 2: rename_size(); break;
                case 3: add_record(); break;
                case 4: erase(m_model.records); break;
                case 5: erase(m_model.tensors); break;
                case 6: change_shape(); break;
                case 7: add_tensor(); break;
                case 8: change_type(); break;
            }
        }
    }

private:
    size_t below(size_t n) { return m_random() % n; }
    template <class T>
    void erase(std::vector<T>& all) {
        if (!all.empty()) all.erase(all.begin() + static_cast<std::ptrdiff_t>(below(all.size())));
    }
    uint64_t some_size() {
        static constexpr uint64_t kSizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 17, 20, 24, 31, 32, 33, 48, 64, 96, 127, 128, 160, 256, 512, 1023, 1024,
                                              4096, 65536, 1 << 20, 1 << 24, 1 << 30, INT32_MAX, UINT32_MAX};
        return kSizes[below(std::size(kSizes))];
    }
    float some_float() {
        static constexpr float kFloats[] = {0, 1, -1, 0.5f, 2, 1e-30f, 1e30f, 1e-45f, 3.4e38f, 10000, __builtin_nanf(""), __builtin_inff()};
        return kFloats[below(std::size(kFloats))];
    }
    void set(Record& record, GgufValueType type) {
        record.type = type;
        record.values.clear();
        if (type == GgufValueType::kF32) put(record.values, some_float());
        else if (type == GgufValueType::kBool) put<uint8_t>(record.values, static_cast<uint8_t>(below(2)));
        else put(record.values, static_cast<uint32_t>(some_size()));
    }
    void change_value() {
        if (m_model.records.empty()) return;
        Record& record = m_model.records[below(m_model.records.size())];
        if (record.type == GgufValueType::kU32 || record.type == GgufValueType::kF32 || record.type == GgufValueType::kBool) return set(record, record.type);
        // Numbers and characters inside; of arrays of text the lengths must stay.
        if (record.values.empty() || (record.type == GgufValueType::kArray && record.element == GgufValueType::kString)) return;
        record.values[below(record.values.size())] = static_cast<std::byte>(record.type == GgufValueType::kString ? ' ' + below(95) : below(4));
    }
    /// One size becomes another wherever it occurs, so that shapes and metadata still agree.
    void rename_size() {
        if (m_model.tensors.empty()) return;
        const uint64_t from = m_model.tensors[below(m_model.tensors.size())].dims[below(3)], to = std::max<uint64_t>(some_size() % 513, 1);
        for (GgufTensor& tensor : m_model.tensors)
            for (int d = 0; d < tensor.n_dims; ++d)
                if (tensor.dims[static_cast<size_t>(d)] == from) tensor.dims[static_cast<size_t>(d)] = to;
        for (Record& record : m_model.records) {
            uint32_t value = 0;
            if (record.type != GgufValueType::kU32) continue;
            std::memcpy(&value, record.values.data(), sizeof value);
            if (value != from) continue;
            record.values.clear();
            put(record.values, static_cast<uint32_t>(to));
        }
    }
    void add_record() {
        static constexpr const char* kSuffixes[] = {
            "nextn_predict_layers", "leading_dense_block_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
            "attention.key_length_mla", "attention.value_length_mla", "attention.q_lora_rank", "attention.kv_lora_rank", "attention.sliding_window",
            "attention.sliding_window_pattern", "attention.clamp_kqv", "attention.scale", "attn_logit_softcapping", "final_logit_softcapping",
            "rope.dimension_count", "rope.freq_base", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.attn_factor",
            "rope.scaling.yarn_ext_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_log_multiplier", "expert_group_count",
            "expert_group_used_count", "expert_shared_count", "expert_shared_feed_forward_length", "expert_feed_forward_length", "expert_weights_norm",
            "expert_weights_scale", "expert_gating_func", "expert_count", "expert_used_count", "residual_scale", "embedding_scale", "logit_scale"};
        std::string architecture = "llama";
        for (const Record& record : m_model.records)
            if (record.key == "general.architecture") architecture = std::string(to_text(record.values));
        Record record{.key = architecture + "." + kSuffixes[below(std::size(kSuffixes))]};
        set(record, std::array{GgufValueType::kU32, GgufValueType::kU32, GgufValueType::kF32, GgufValueType::kBool}[below(4)]);
        std::erase_if(m_model.records, [&](const Record& other) { return other.key == record.key; });
        if (below(4) == 0) {   // one entry a layer
            record.element = record.type;
            record.type = GgufValueType::kArray;
            record.count = 1 + below(3);
            const Bytes one = record.values;
            for (uint64_t i = 1; i < record.count; ++i) record.values.insert(record.values.end(), one.begin(), one.end());
        }
        m_model.records.push_back(std::move(record));
    }
    void change_shape() {
        if (m_model.tensors.empty()) return;
        GgufTensor& tensor = m_model.tensors[below(m_model.tensors.size())];
        if (below(3) == 0) std::swap(tensor.dims[0], tensor.dims[1]);
        else tensor.dims[below(3)] = std::max<uint64_t>(some_size(), 1);
        for (int d = 0; d < 4; ++d)
            if (tensor.dims[static_cast<size_t>(d)] > 1) tensor.n_dims = std::max(tensor.n_dims, d + 1);
    }
    void add_tensor() {
        static constexpr const char* kNames[] = {"rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight", "output.weight", "output.bias",
                                                 "blk.0.attn_qkv.weight", "blk.0.attn_q.bias", "blk.0.attn_k.bias", "blk.0.attn_v.bias", "blk.0.attn_output.bias",
                                                 "blk.0.attn_q_norm.weight", "blk.0.attn_k_norm.weight", "blk.0.attn_kv_b.weight", "blk.0.attn_q_a.weight",
                                                 "blk.0.attn_q_a_norm.weight", "blk.0.attn_q_b.weight", "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight",
                                                 "blk.0.ffn_down.weight", "blk.0.ffn_gate_up_exps.weight", "blk.0.ffn_gate_shexp.weight", "blk.0.ffn_up_shexp.weight",
                                                 "blk.0.ffn_down_shexp.weight", "blk.0.ffn_gate_inp_shexp.weight", "blk.0.ffn_gate_inp.bias", "blk.0.exp_probs_b.bias"};
        if (m_model.tensors.empty()) return;
        GgufTensor tensor = m_model.tensors[below(m_model.tensors.size())];   // with the shape of another
        if (below(3) == 0) {
            if (tensor.name.starts_with("blk.0.")) tensor.name[4] = '1';      // a second layer, piece by piece
        } else {
            tensor.name = kNames[below(std::size(kNames))];
        }
        std::erase_if(m_model.tensors, [&](const GgufTensor& other) { return other.name == tensor.name; });
        m_model.tensors.push_back(std::move(tensor));
    }
    void change_type() {
        if (m_model.tensors.empty()) return;
        const std::span<const TensorTypeInfo> types = all_tensor_types();
        GgufTensor& tensor = m_model.tensors[below(m_model.tensors.size())];
        tensor.type = types[below(types.size())].type;
        if (below(2) == 0) tensor.dims[0] = tensor_type_info(tensor.type).block_values;
    }

    Model& m_model;
    std::minstd_rand m_random;
};

}  // namespace
}  // namespace gs::test

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
    using namespace gs;
    if (seed % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
    test::Bytes padded(size + test::kPadding);
    if (size > 0) std::memcpy(padded.data(), data, size);
    const Result<GgufPart> part = parse_gguf_part(padded);
    if (!part) return LLVMFuzzerMutate(data, size, max_size);
    test::Model model = test::take_apart(*part);
    test::Mutator(model, seed).run();
    const test::Bytes bytes = test::put_together(model);
    if (bytes.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
    std::memcpy(data, bytes.data(), bytes.size());
    return bytes.size();
}
