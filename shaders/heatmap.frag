#version 450
// A heatmap, one invocation a pixel: which cells does the pixel cover, what stands for them, its colour. The levels are those of
// app/widgets/heatmap_pyramid.h; Push is HeatmapPush in app/widgets/heatmap_renderer.h.
struct Level { uint first, n_cols, n_rows, unused; };
layout(set = 0, binding = 0, std430) readonly buffer Values { uint bits[]; };     // float bits: a NaN test that no driver may optimise away
layout(set = 0, binding = 1, std430) readonly buffer Levels { Level levels[]; };
layout(set = 0, binding = 2, std430) readonly buffer Colors { uint colors[]; };   // 256 a map, R in the low byte
layout(set = 0, binding = 3, std430) readonly buffer Shared { uint shared_bits[]; };   // where the engine wrote it; only with flag 4
layout(push_constant) uniform Push {
    vec2 view_origin;       // column, row at the image's top left
    vec2 cells_per_px;      // columns, rows
    float low, inverse_range;
    uint n_cols, n_rows;
    uint n_col_levels, n_row_levels;
    uint first_color;       // of the map
    uint flags;             // 1: columns run downwards; 2: farthest from 0 instead of maximum; 4: single cells are in shared_bits
    uint background, no_value, no_value_stripe;
    float px;               // pixels per unit of design size
    uint shared_first;      // cell (0, 0) in shared_bits
} push;
layout(location = 0) out vec4 color;

bool is_nan(uint b) { return (b & 0x7fffffffu) > 0x7f800000u; }

// The rule of reduce() in heatmap_pyramid.cpp.
uint stronger(uint a, uint b) {
    if (is_nan(a)) return b;
    if (is_nan(b)) return a;
    float x = uintBitsToFloat(a), y = uintBitsToFloat(b);
    if ((push.flags & 2u) == 0u) return x >= y ? a : b;
    if (abs(x) == abs(y)) return x >= y ? a : b;
    return abs(x) > abs(y) ? a : b;
}

uint value_bits(vec2 from, vec2 to) {
    vec2 per_px = push.cells_per_px;
    uvec2 wanted = uvec2(floor(log2(max(per_px, vec2(1.0)))));
    uvec2 lv = min(wanted, uvec2(push.n_col_levels, push.n_row_levels) - 1u);
    Level level = levels[lv.x * push.n_row_levels + lv.y];
    vec2 shrink = exp2(-vec2(lv));
    uvec2 lo = uvec2(max(floor(from * shrink), 0.0));
    uvec2 hi = uvec2(max(ceil(to * shrink) - 1.0, 0.0));
    if (per_px.x <= 1.0) hi.x = lo.x;                       // magnified: the one cell under the pixel
    if (per_px.y <= 1.0) hi.y = lo.y;
    // Columns past the newest one hold nothing yet.
    uvec2 last = uvec2((push.n_cols - 1u) >> lv.x, level.n_rows - 1u);
    hi = min(hi, last);
    lo = min(lo, hi);
    uint best = 0x7fc00000u;
    if ((push.flags & 4u) != 0u && lv == uvec2(0)) {
        for (uint col = lo.x; col <= hi.x; ++col)
            for (uint row = lo.y; row <= hi.y; ++row) best = stronger(best, shared_bits[push.shared_first + col * level.n_rows + row]);
        return best;
    }
    for (uint col = lo.x; col <= hi.x; ++col)
        for (uint row = lo.y; row <= hi.y; ++row) best = stronger(best, bits[level.first + col * level.n_rows + row]);
    return best;
}

void main() {
    vec2 px = floor(gl_FragCoord.xy);
    if ((push.flags & 1u) != 0u) px = px.yx;
    vec2 center = push.view_origin + (px + 0.5) * push.cells_per_px;
    vec2 from = push.view_origin + px * push.cells_per_px, to = from + push.cells_per_px;
    vec2 size = vec2(push.n_cols, push.n_rows);
    bool magnified_x = push.cells_per_px.x <= 1.0, magnified_y = push.cells_per_px.y <= 1.0;
    if (magnified_x) from.x = center.x;
    if (magnified_y) from.y = center.y;
    if (any(lessThan(center, vec2(0.0))) || any(greaterThanEqual(from, size)) || (magnified_x && center.x >= size.x)) {
        color = unpackUnorm4x8(push.background);
        return;
    }
    // Large cells get a gap of one pixel, so that neighbours of one colour can be counted.
    vec2 px_per_cell = 1.0 / push.cells_per_px;
    vec2 into = fract(center) * px_per_cell;
    bvec2 large = greaterThan(px_per_cell, vec2(9.0 * push.px)), at_edge = lessThan(into, vec2(push.px));
    if ((large.x && at_edge.x) || (large.y && at_edge.y)) {
        color = unpackUnorm4x8(push.background);
        return;
    }
    uint found = value_bits(from, to);
    if (is_nan(found)) {
        bool stripe = mod(floor(gl_FragCoord.x) + floor(gl_FragCoord.y), 6.0 * push.px) < 1.5 * push.px;
        color = unpackUnorm4x8(stripe ? push.no_value_stripe : push.no_value);
        return;
    }
    float t = clamp((uintBitsToFloat(found) - push.low) * push.inverse_range, 0.0, 1.0);
    color = unpackUnorm4x8(colors[push.first_color + uint(t * 255.0 + 0.5)]);
}
