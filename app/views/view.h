// A panel of the window. It reads an immutable SessionState and the shared selection, draws, and sends commands; it never touches the engine.
// To add one: a file in this folder and a row in view_table.cpp.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/views/what_if_cache.h"
#include "app/base/colormap.h"
#include "app/widgets/heatmap.h"
#include "engine/run/session.h"

namespace app {

/// What the pointer or the keyboard picked: read and written by every view (ux.md R10). -1 = none.
struct Pick {
    int token = -1;
    int moe_layer = -1;                    ///< row in TraceInfo::moe_layers
    int expert = -1;
    bool operator==(const Pick&) const = default;
    bool empty() const { return token < 0 && moe_layer < 0 && expert < 0; }
};

/// Which of the three quantities a view shows; never mixed (product.md).
enum class Quantity : uint8_t { kPreference, kSelectionScore, kAppliedWeight };
/// What colours the token strip.
enum class TokenColor : uint8_t { kTopExpert, kEntropy, kMargin, kLogprob };

/// Arrangements of the panels (ux.md R5); view_table.cpp says what each shows.
enum class LayoutKind : uint8_t { kExplore, kTeach, kTune };
inline constexpr LayoutKind kLayouts[] = {LayoutKind::kExplore, LayoutKind::kTeach, LayoutKind::kTune};

/// Texts that a study of experts runs over.
struct StudyChoice {
    std::vector<std::string> left_out;   ///< bundled samples that are not wanted
    std::vector<std::string> files;      ///< texts of the user's own; the file's name without its ending is the domain
    int max_tokens = 512;                ///< of each
    bool operator==(const StudyChoice&) const = default;
};

/// Which text the panels that measure use.
struct TextChoice {
    enum class Source : uint8_t { kSample, kRun, kOwn };
    Source source = Source::kSample;
    std::string sample = "prose";        ///< of bundled_text_names()
    std::string own, own_name;           ///< written or pasted; own_name: of the file it came from
    int max_tokens = 256;
    bool operator==(const TextChoice&) const = default;
};

/// What the measurements of k are asked for.
struct TuneChoice {
    bool sweep_every_k = true, map_every_k = false;
    bool sweep_on_policy = false;        ///< k on top of the policy in force, not of the model as trained
    gs::BudgetKind budget = gs::BudgetKind::kKl;
    std::array<double, 3> limits{};      ///< of a schedule, by kind of budget; 0: where the map begins
    bool operator==(const TuneChoice&) const = default;
};

/// Kept in the settings file, but for what is measured and what belongs to the model that is loaded. Undone and redone as parameter_history.cpp lists.
struct ViewSettings {
    Quantity quantity = Quantity::kAppliedWeight;
    TokenColor token_color = TokenColor::kTopExpert;
    ColorMap map = ColorMap::kCividis;
    bool auto_range = true;              ///< off: 0 to 1, so that runs compare; on shows a router of many even experts at all
    gs::PhaseFilter phase = gs::PhaseFilter::kBoth;
    bool choice_signs = true;              ///< drops, ties and fragile choices on heatmaps
    float logit_error = 0;                 ///< rms of a router logit, for what is fragile; 0: rounding to bf16
    std::string prompt = "What is a llama?";
    bool chat = true;
    int max_new_tokens = 128;
    gs::SamplerSettings sampler;
    std::vector<gs::AblatedExpert> ablated;   ///< the set that the ablation panel measures and applies; not kept
    int ablation_controls = 8;                ///< random experts of equal usage beside it
    StudyChoice study;
    TextChoice measured_text;
    TuneChoice tune;
    bool ghosts = true;                    ///< figures of the run or sweep before stay visible, faint
    bool k_hint_done = false;              ///< k was changed once: the first-run hint is no longer needed
};

struct Theme {
    bool dark = true;
    ImU32 text, text_dim, accent, warning, error, ok, grid, selection, hover, what_if, track;
};

struct ViewContext {
    const gs::SessionState& state;         ///< what commands act on; its `run` is not always the one that is drawn
    const std::shared_ptr<const gs::RunResult>& run;   ///< that is drawn: of the state, or the pinned one while it is flashed
    gs::Session& session;                  ///< commands only
    Pick& selected;
    Pick& hovered;                         ///< of this frame; the shell swaps it, so every view sees last frame's hover
    Pick& hovered_next;
    ViewSettings& settings;
    WhatIfCache& what_if;                  ///< trace to draw: of `run`, or the what-if while a control is dragged
    HeatmapRenderer& heatmaps;
    const Theme& theme;
    float scale = 1;                       ///< pixels per unit of design size
    double time_seconds = 0;
    LayoutKind layout = LayoutKind::kExplore;   ///< in the Teach layout panels leave out what a first lesson does not need

    /// The pinned run is drawn in place of the one on screen (app_flash.cpp): what the session knows of the latter does not go with it.
    bool flashed() const { return run != state.run; }
    /// Ask for frames until then (animation, pending hover). The window sleeps otherwise.
    void keep_awake(double seconds);
    /// Frames until one begins after so many seconds, however slow they are: for what then happens by itself. Ask for it in each frame until it has.
    void keep_awake_past(double seconds);
    double awake_until = 0;
    bool wants_text_file = false;          ///< "Add a text…" was pressed: the file chosen joins StudyChoice::files
    bool takes_texts = false;              ///< this panel is in sight and text files dropped on the window are for it
    const char* wants_panel = nullptr;     ///< a panel asked for another to come to the front of its tabs: its id
    bool wants_open_file = false;          ///< an empty panel's "Open…" was pressed: the shell shows the file dialog
};

class View {
public:
    virtual ~View() = default;
    /// Inside an ImGui window that is already begun; draws for whatever size it has, from 200x120 px up.
    virtual void draw(ViewContext& context) = 0;
    /// Where the user looks, as a short text that bookmarks keep ("" = everything), and back to it. A text that means nothing is ignored.
    virtual std::string zoom() const { return ""; }
    virtual void set_zoom(const std::string&) {}
};

/// Where a layout puts a panel. kTop and kStatus are fixed bars, the others can be moved. kBeside: next to the centre where the window is
/// wide, else one of its tabs. kClosed: not shown until the user asks for it, then a tab of the centre.
enum class Dock : uint8_t { kTop, kCenter, kBeside, kRight, kBottom, kStatus, kClosed };

/// One Dock a layout; a single one is the same in all of them.
struct Places {
    Dock explore, teach, tune;
    constexpr Places(Dock all) : explore(all), teach(all), tune(all) {}
    constexpr Places(Dock in_explore, Dock in_teach, Dock in_tune) : explore(in_explore), teach(in_teach), tune(in_tune) {}
    constexpr Dock in(LayoutKind layout) const {
        return layout == LayoutKind::kTeach ? teach : layout == LayoutKind::kTune ? tune : explore;
    }
    constexpr bool fixed() const { return explore == Dock::kTop || explore == Dock::kStatus; }
};

struct ViewRow {
    const char* id;                        ///< "heatmap": --view, settings, ###id
    const char* title;                     ///< on the tab: one short word, many tabs share a line
    Places places;
    std::unique_ptr<View> (*make)();
    const char* note = "";                 ///< one sentence: what the panel answers; in the View menu and the palette
};
/// Of one place, the first row is the tab in front.
std::span<const ViewRow> all_views();      ///< view_table.cpp

}  // namespace app
