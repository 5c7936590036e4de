// Writes GGUF bytes for tests: correct ones by default, with single fields that a test can bend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model/gguf_part.h"

namespace gs::test {

using Bytes = std::vector<std::byte>;

template <class T>
void put(Bytes& out, T value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    out.insert(out.end(), p, p + sizeof value);
}
inline void put_text(Bytes& out, std::string_view text) {
    put<uint64_t>(out, text.size());
    const auto* p = reinterpret_cast<const std::byte*>(text.data());
    out.insert(out.end(), p, p + text.size());
}

class GgufBuilder {
public:
    uint32_t version = 3;
    uint64_t alignment = 32;   ///< of the layout; says nothing in the file

    template <class T>
    GgufBuilder& value(std::string_view key, GgufValueType type, T v) {
        return record(key, type, [&](Bytes& out) { put(out, v); });
    }
    GgufBuilder& u32(std::string_view key, uint32_t v) { return value(key, GgufValueType::kU32, v); }
    GgufBuilder& f32(std::string_view key, float v) { return value(key, GgufValueType::kF32, v); }
    GgufBuilder& text(std::string_view key, std::string_view v) {
        return record(key, GgufValueType::kString, [&](Bytes& out) { put_text(out, v); });
    }
    template <class T>
    GgufBuilder& array(std::string_view key, GgufValueType element, const std::vector<T>& values) {
        return record(key, GgufValueType::kArray, [&](Bytes& out) {
            put(out, static_cast<uint32_t>(element));
            put<uint64_t>(out, values.size());
            for (const T& v : values) put(out, v);
        });
    }
    GgufBuilder& texts(std::string_view key, const std::vector<std::string>& values) {
        return record(key, GgufValueType::kArray, [&](Bytes& out) {
            put(out, static_cast<uint32_t>(GgufValueType::kString));
            put<uint64_t>(out, values.size());
            for (const std::string& v : values) put_text(out, v);
        });
    }
    GgufBuilder& remove(std::string_view key) {
        std::erase_if(m_records, [&](const auto& r) { return r.first == key; });
        return *this;
    }
    /// Zero data of the right size, unless given.
    GgufBuilder& tensor(std::string_view name, std::vector<uint64_t> dims, TensorType type = TensorType::kF32, Bytes data = {}) {
        remove_tensor(name);
        if (data.empty()) {
            const TensorTypeInfo& info = tensor_type_info(type);
            uint64_t n = dims[0] / info.block_values * info.block_bytes;
            for (size_t i = 1; i < dims.size(); ++i) n *= dims[i];
            data.resize(n);
        }
        const uint64_t n_bytes = data.size();
        m_tensors.push_back({std::string(name), std::move(dims), static_cast<uint32_t>(type), std::move(data), n_bytes});
        return *this;
    }
    /// An f32 tensor whose data build() leaves out: for sparse files, to be enlarged to file_bytes(). Only behind all others.
    GgufBuilder& hole(std::string_view name, std::vector<uint64_t> dims) {
        remove_tensor(name);
        uint64_t n_bytes = sizeof(float);
        for (const uint64_t d : dims) n_bytes *= d;
        m_tensors.push_back({std::string(name), std::move(dims), static_cast<uint32_t>(TensorType::kF32), {}, n_bytes});
        return *this;
    }
    uint64_t file_bytes() const {
        uint64_t n = build().size();
        for (const Tensor& t : m_tensors) n += padded(t.n_bytes - t.data.size());
        return n;
    }
    /// Every f32 tensor with values in -size..size.
    GgufBuilder& fill(std::mt19937& random, float size) {
        std::uniform_real_distribution<float> value(-size, size);
        for (Tensor& t : m_tensors) {
            if (t.type != static_cast<uint32_t>(TensorType::kF32)) continue;
            for (size_t at = 0; at < t.data.size(); at += sizeof(float)) {
                const float v = value(random);
                std::memcpy(t.data.data() + at, &v, sizeof v);
            }
        }
        return *this;
    }
    GgufBuilder& remove_tensor(std::string_view name) {
        std::erase_if(m_tensors, [&](const Tensor& t) { return t.name == name; });
        return *this;
    }
    Bytes build() const {
        Bytes out;
        for (const char c : std::string_view("GGUF")) put(out, c);
        put(out, version);
        put<uint64_t>(out, m_tensors.size());
        put<uint64_t>(out, m_records.size());
        for (const auto& [key, bytes] : m_records) out.insert(out.end(), bytes.begin(), bytes.end());
        uint64_t offset = 0;
        for (const Tensor& t : m_tensors) {
            put_text(out, t.name);
            put(out, static_cast<uint32_t>(t.dims.size()));
            for (const uint64_t d : t.dims) put(out, d);
            put(out, t.type);
            put(out, offset);
            offset += padded(t.n_bytes);
        }
        out.resize(padded(out.size()));
        for (const Tensor& t : m_tensors) {
            out.insert(out.end(), t.data.begin(), t.data.end());
            out.resize(padded(out.size()));
        }
        return out;
    }

private:
    struct Tensor {
        std::string name;
        std::vector<uint64_t> dims;
        uint32_t type;
        Bytes data;
        uint64_t n_bytes;
    };
    uint64_t padded(uint64_t n) const { return (n + alignment - 1) / alignment * alignment; }
    template <class Write>
    GgufBuilder& record(std::string_view key, GgufValueType type, const Write& write) {
        remove(key);
        Bytes bytes;
        put_text(bytes, key);
        put(bytes, static_cast<uint32_t>(type));
        write(bytes);
        m_records.emplace_back(key, std::move(bytes));
        return *this;
    }
    std::vector<std::pair<std::string, Bytes>> m_records;
    std::vector<Tensor> m_tensors;
};

/// The complete file of spec/gguf.md section 1.3, without its final padding: 168 bytes.
inline GgufBuilder example_gguf() {
    const std::vector<float> values{1.0f, -2.5f};
    Bytes data(sizeof(float) * values.size());
    std::memcpy(data.data(), values.data(), data.size());
    GgufBuilder builder;
    builder.text("general.architecture", "llama").array<uint32_t>("a.b", GgufValueType::kU32, {7, 9}).tensor("t", {2}, TensorType::kF32, data);
    return builder;
}

inline Bytes to_bytes(std::string_view text) {
    Bytes bytes(text.size());
    if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
    return bytes;
}
inline std::string_view to_text(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace gs::test
