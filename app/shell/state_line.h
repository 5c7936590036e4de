// What is on screen as one line of text, for chats, slides and presets (ux.md R18):
//
//   gatescope/1 prompt="What is a llama?" policy=k=1 compare=native token=12 layer=3 show=heatmap
//
// Keys that are left out mean the default, unknown ones are ignored (a later version may have more), values are checked against their
// limits. Nothing in it can name a file or run a program.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/views/view.h"

namespace app {

struct StateLine {
    ViewSettings settings;                       ///< those parts of it that say what is shown; k_hint_done is no part
    gs::Policy policy;
    std::optional<gs::Policy> compare;           ///< run this first and compare `policy` with it
    Pick pick;
    LayoutKind layout = LayoutKind::kExplore;
    std::vector<std::string> show;               ///< panels in front
    std::string zoom;                            ///< of the heatmap
    std::string model;                           ///< name, so that another one can be told; nothing is loaded by it
    bool operator==(const StateLine& other) const;
};

inline constexpr std::string_view kStateVersion = "gatescope/1";

/// One line without control characters; only what differs from the default, but prompt and policy always.
std::string to_line(const StateLine& state);
/// Errors (kUsage): "not_a_state", "state_version", "bad_state" with the key, its value and what is allowed.
gs::Result<StateLine> parse_state_line(std::string_view line);

}  // namespace app
