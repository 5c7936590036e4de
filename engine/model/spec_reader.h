// Internal to engine/model: reads a ModelSpec from metadata by the row of its family. Every value that becomes a size, a divisor or a loop bound
// is range-checked (spec/gguf.md R22, R23).
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/family_table.h"
#include "engine/model/gguf_part.h"
#include "engine/model/model.h"

namespace gs {

class SpecReader {
public:
    SpecReader(const GgufFile& file, const FamilyRow& row, Reading reading)
        : m_file(file), m_published(row), m_row(in_reading(row, reading)) {
        m_spec.reading = reading;
    }
    Result<ModelSpec> run();

private:
    // Far above any published model, and small enough that products of two of them fit an int.
    static constexpr int kMaxLayers = 512, kMaxExperts = 1024, kMaxHeads = 4096, kMaxHeadDim = 65536, kMaxWidth = 1 << 20, kMaxFfn = 1 << 24,
                         kMaxContext = 1 << 30;

    std::string key(std::string_view suffix) const { return fmt::format("{}.{}", m_row.architecture, suffix); }
    bool has(std::string_view suffix) const { return m_file.has(key(suffix)); }
    Error bad(std::string_view suffix, const std::string& why) const { return gguf_error("bad_value", fmt::format("{} {}", key(suffix), why)); }

    Result<int> integer(std::string_view suffix, int low, int high) const;
    Result<int> integer_or(std::string_view suffix, int low, int high, int fallback) const;
    Result<int> one_for_all_layers(std::string_view suffix, int low, int high) const;
    Result<int> largest_of_layers(std::string_view suffix, int low, int high) const;
    Result<std::vector<int64_t>> per_layer(std::string_view suffix) const;
    Result<double> number_or(std::string_view suffix, double fallback) const;
    Result<float> positive(std::string_view suffix, std::optional<double> fallback) const;
    Result<float> multiplier(std::string_view suffix, double fallback = 1) const;
    Result<float> limit(std::string_view suffix, double fallback = 0) const;

    Result<void> read_shape();
    Result<void> read_ffn();
    Result<int> shared_width() const;
    Result<void> read_granite_scales();
    Result<void> read_grok_scales();

    // model_spec_attention.cpp
    Result<void> read_attention();
    Result<void> read_heads();
    Result<void> read_latent();
    Result<void> read_rope();
    Result<void> read_rope_scaling();
    Result<void> read_yarn(bool is_yarn);
    Result<void> scale_latent_softmax(double log_factor, double log_multiplier);
    Result<void> read_temperature();
    Result<void> read_layers();
    Result<void> read_local_rope(float factor);
    Result<void> read_chunks();
    Result<void> read_windows();

    // model_spec_router.cpp
    Result<void> read_router();
    Result<void> read_score();
    Result<void> read_weights_rule();
    Result<void> read_groups();
    void set_deepseek_groups();

    const GgufFile& m_file;
    const FamilyRow& m_published;    ///< as in the table: what files are written for
    const FamilyRow m_row;           ///< in the reading asked for
    ModelSpec m_spec;
};

}  // namespace gs
