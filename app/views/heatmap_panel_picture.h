// What the heatmap panel draws, as a plain matrix: which cells, which value each has, and the range of values. No drawing, no GPU.
//
//   picture.update(trace, {.kind = PictureKind::kTokenExpert, .quantity = Quantity::kPreference, .moe_layer = 3});
//   picture.value(token, expert)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "app/views/layer_stats.h"
#include "app/views/route_data.h"

namespace app {

enum class PictureKind : uint8_t {
    kTokenExpert,                          ///< columns: tokens, rows: experts of one layer
    kLayerExpert,                          ///< columns: experts, rows: all layers
    kTokenLayer                            ///< columns: tokens, rows: all layers
};

struct PictureSpec {
    PictureKind kind = PictureKind::kTokenExpert;
    Quantity quantity = Quantity::kPreference;          ///< token x expert; layer x expert of one token
    RouteScalar scalar = RouteScalar::kTopWeight;       ///< token x layer
    bool over_run = true;                               ///< layer x expert: share of tokens over the run, else `quantity` of `token`
    int moe_layer = 0;                                  ///< token x expert
    int token = 0;                                      ///< layer x expert of one token
    gs::PhaseFilter phase = gs::PhaseFilter::kBoth;     ///< layer x expert over the run
    bool operator==(const PictureSpec&) const = default;
    /// Fields that the kind does not use, at their defaults: two specs of the same picture compare equal.
    PictureSpec normalized() const;
};

struct ValueRange {
    float low = 0, high = 1;
};

class RoutePicture {
public:
    /// Computes what is new: only new columns when tokens were appended. True when anything changed.
    bool update(const gs::TraceSnapshot& trace, const PictureSpec& spec);
    int n_cols() const { return m_n_cols; }
    int n_rows() const { return m_n_rows; }
    float value(int col, int row) const { return column(col)[static_cast<size_t>(row)]; }
    std::span<const float> column(int col) const;
    /// Of the finite values; 0..1 when there are none.
    ValueRange data_range() const;
    /// Identity of the content except for appended columns.
    uint64_t revision() const { return m_revision; }
    const PictureSpec& spec() const { return m_spec; }
    const RunStats& stats() const { return m_stats; }
    RouteReader& reader() { return m_reader; }
    /// Token x expert: no token's policy has a temperature at the layer, so that the preference is that of the router logits alone.
    bool has_plain_preference() const { return m_plain_preference; }

    /// What a cell is about; -1 where it is not about one. A row of a dense layer has moe_layer -1.
    Pick pick_of(int col, int row) const;
    /// The column and row of a pick, -1 where it has none in this picture.
    int col_of(const Pick& pick) const;
    int row_of(const Pick& pick) const;

private:
    void fill(int first_col);
    void fill_token(int token, std::span<float> out);
    void fill_layers();

    PictureSpec m_spec;
    RouteReader m_reader;
    TraceFollower m_follower;
    RunStats m_stats;                      ///< kept only while the picture needs it
    std::vector<float> m_values;           ///< [n_cols, n_rows]
    std::vector<float> m_experts;          ///< [E] scratch
    int m_n_cols = 0, m_n_rows = 0;
    float m_low = 0, m_high = 0;
    bool m_any = false, m_made = false, m_plain_preference = true;
    uint64_t m_revision = 0;
};

/// The range the colours span: fixed where the quantity has natural limits, so that runs compare; that of the data when asked for or when it has none.
ValueRange color_range(const RoutePicture& picture, const gs::RouterSpec& router, bool auto_range);
/// "share of tokens", "preference", "router entropy (nats)": what the colour bar is labelled with.
const char* value_title(const PictureSpec& spec);

}  // namespace app
