// What the sweep panel draws, as plain values: one curve a figure over k. No drawing.
#pragma once

#include <string>
#include <vector>

#include "app/widgets/heatmap.h"
#include "engine/run/sweep.h"

namespace app {

enum class SweepFigure : uint8_t { kPerplexity, kKl, kTop1, kLayerError, kSpeed, kBytes };
inline constexpr SweepFigure kSweepFigures[] = {SweepFigure::kPerplexity, SweepFigure::kKl,    SweepFigure::kTop1,
                                                SweepFigure::kLayerError, SweepFigure::kSpeed, SweepFigure::kBytes};

struct SweepFact {
    const char* title;                     ///< "KL to native (nats)"
    const char* explanation;
    bool may_be_log;                       ///< spreads over orders of magnitude
    bool is_share;                         ///< 0..1, shown as percent
};
SweepFact fact_of(SweepFigure figure);

/// NaN where the score has none (speed before it was timed, errors that were not asked for). Speed in tokens/s, bytes in MB.
double sweep_value(const gs::PolicyScore& score, SweepFigure figure);
/// Standard error of that; 0 for bytes, which are counted.
double sweep_error(const gs::PolicyScore& score, SweepFigure figure);
/// "21.1 ± 1.2", "87.3 % ± 0.5 %", "–".
std::string sweep_text(const gs::PolicyScore& score, SweepFigure figure);

struct SweepCurve {
    std::vector<double> k, value, low, high;               ///< low, high: value ∓ one standard error; only points that have a value
    bool empty() const { return k.empty(); }
};
/// positive_only: for a logarithmic axis. moe_layer >= 0: the error of that layer alone, of kLayerError.
SweepCurve sweep_curve(const gs::SweepResult& sweep, SweepFigure figure, bool positive_only, int moe_layer = -1);

/// Limits of a value axis that shows these curves with their bands, some margin included. Shares stay within 0..1 and figures that begin at 0 begin there.
struct SweepRange {
    double low = 0, high = 1;
};
SweepRange sweep_range(const std::vector<SweepCurve>& curves, SweepFigure figure, bool log_scale);
/// The spread calls for a logarithm: more than a factor of 20 between positive values.
bool wants_log(const SweepCurve& curve);

/// Row whose k is nearest, or -1 when there are none.
int nearest_row(const gs::SweepResult& sweep, double k);
/// Rows that are done as far as the text goes.
int n_complete_rows(const gs::SweepResult& sweep);
/// "weights=one" or "native": what k was swept on top of.
std::string base_text(const gs::SweepResult& sweep);
/// b is another sweep over the same text by the same model: its curves may stand behind a's.
bool comparable(const gs::SweepResult& a, const gs::SweepResult& b);

}  // namespace app
