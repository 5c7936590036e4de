// Ties, fragile choices and drops for the views: signs on the cells of a picture, and counts over a layer. Each is worked out once, when it is first in sight.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "app/views/heatmap_panel_picture.h"
#include "engine/routing/choices.h"

namespace app {

class ChoiceSigns {
public:
    /// HeatmapInput signs of one column of the picture; none where it shows sums over the run.
    void column(const gs::TraceSnapshot& trace, const RoutePicture& picture, gs::LogitError error, int col, std::span<uint8_t> out);
    /// Worked out so far.
    size_t n_columns() const { return m_columns.size(); }

private:
    void fill(const gs::TraceSnapshot& trace, const RoutePicture& picture, int col, std::span<uint8_t> out);

    gs::ChoiceReader m_reader;
    std::unordered_map<int, std::vector<uint8_t>> m_columns;
    PictureSpec m_spec;
    gs::LogitError m_error;
    uint64_t m_trace = 0;
};

/// Counts of one MoE layer over a run, kept up to date as it grows.
class LayerChoices {
public:
    const gs::ChoiceCounts& counts(const gs::TraceSnapshot& trace, int moe_layer, gs::LogitError error);

private:
    gs::ChoiceReader m_reader;
    gs::ChoiceCounts m_counts;
    gs::LogitError m_error;
    uint64_t m_trace = 0;
    int m_moe_layer = -1, m_n_tokens = 0;
};

/// "a tie", "fragile", "clear", or why there is nothing to say.
std::string choice_text(const gs::Choice& choice);
/// What fragile means under this error, for tooltips.
std::string fragile_explained(gs::LogitError error);

}  // namespace app
