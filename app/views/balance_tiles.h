// The balance of a layer's load in figures: a row of tiles, each with its formula and what chance alone would give on its hover card.
#pragma once

#include "app/views/layer_stats.h"

namespace app {

/// As many beside each other as the width has room for.
void draw_balance_tiles(const LayerStats& stats, gs::Provenance provenance);

}  // namespace app
