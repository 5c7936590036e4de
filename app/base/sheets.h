// Sheets of models that need not be loaded, or cannot be: sizes and prices with their sources (assets/sheets/models.json), and what the user put in
// place of a price (prices.json in the settings folder).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

struct SheetFigure {
    double value = 0;
    std::string source;                    ///< for people: title, date, section
    std::string differs;                   ///< what another source says, and which; empty: none is known to say otherwise

    /// "Source: …", and on a line of its own what differs.
    std::string origin() const;
};

/// US dollars for a million tokens. Input and output apart, or a range for both mixed.
struct SheetPrice {
    std::string where, source, differs;    ///< the last two as of a figure
    std::optional<double> input, output, low, high;
    bool edited = false;                   ///< the user's own figures

    /// For so many tokens in and out; low and high are equal where both prices are known.
    struct Range {
        double low = 0, high = 0;
    };
    Range usd(double tokens_in, double tokens_out) const;
};

struct ModelSheet {
    std::string id, name, kind, note;      ///< kind: "moe", "dense", "unknown"
    bool open_weights = false;
    std::optional<SheetFigure> total_params, active_params, experts;   ///< none: not published
    std::vector<SheetPrice> prices;

    /// 2 operations for every active weight; attention, which depends on the context, left out.
    std::optional<double> flops_per_token() const;
    std::optional<double> weight_bytes(double bits_per_weight) const;
    std::optional<double> bytes_per_token(double bits_per_weight) const;
};

/// Errors: kInput "bad_sheets" with the place, "cannot_open".
gs::Result<std::vector<ModelSheet>> read_sheets(const std::filesystem::path& file);

/// The bundled sheets with the prices of `edits` in place of theirs. A file of edits that cannot be read counts as none; `problem` says so.
struct Sheets {
    std::vector<ModelSheet> models;
    std::string problem;
};
Sheets load_sheets(const std::filesystem::path& edits);
/// Writes the edited prices, whole or not at all. Errors: kRun "cannot_write", "disk_full".
gs::Result<void> save_price_edits(const std::vector<ModelSheet>& models, const std::filesystem::path& edits);
/// $XDG_CONFIG_HOME/gatescope/prices.json; empty without a home.
std::filesystem::path price_edits_path();

}  // namespace app
