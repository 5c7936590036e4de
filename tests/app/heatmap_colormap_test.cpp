#include "app/base/colormap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace app {
namespace {

using Triple = std::array<double, 3>;

Triple linear_rgb(uint32_t color) {
    Triple out;
    for (size_t i = 0; i < 3; ++i) {
        const double v = double(channel_of(color, int(i))) / 255;
        out[i] = v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
    }
    return out;
}

/// CIE L*a*b*, D65, of linear sRGB (IEC 61966-2-1, CIE 15).
Triple lab(const Triple& rgb) {
    const double x = 0.4124 * rgb[0] + 0.3576 * rgb[1] + 0.1805 * rgb[2], y = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2],
                 z = 0.0193 * rgb[0] + 0.1192 * rgb[1] + 0.9505 * rgb[2];
    const auto f = [](double t) { return t > 216.0 / 24389 ? std::cbrt(t) : (24389.0 / 27 * t + 16) / 116; };
    const double fx = f(x / 0.95047), fy = f(y), fz = f(z / 1.08883);
    return {116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)};
}

double contrast(uint32_t a, uint32_t b) {
    const auto luminance = [](uint32_t c) {
        const Triple rgb = linear_rgb(c);
        return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    };
    const double la = luminance(a), lb = luminance(b);
    return (std::max(la, lb) + 0.05) / (std::min(la, lb) + 0.05);
}

TEST(ColorMap, SequentialMapsGetLighterAllTheWay) {
    for (ColorMap map : {ColorMap::kCividis, ColorMap::kViridis, ColorMap::kGreys}) {
        double before = -1;
        // Every 8th entry: 8-bit rounding moves a neighbour's lightness by up to half a unit, more than one step of the map.
        for (size_t i = 0; i < 256; i += 8) {
            const double now = lab(linear_rgb(table(map)[i]))[0];
            EXPECT_GT(now, before) << name_of(map) << " entry " << i;
            before = now;
        }
    }
}

TEST(ColorMap, GreysAreEvenInLightness) {
    for (int i = 0; i < 256; ++i) {
        const Triple c = lab(linear_rgb(table(ColorMap::kGreys)[size_t(i)]));
        // From 8 to 96; a grey level rounded to 8 bits is off by at most half of L*'s steepest step there, 0.45.
        EXPECT_NEAR(c[0], 8 + 88.0 * i / 255, 0.45) << i;
        EXPECT_NEAR(c[1], 0, 0.02);
        EXPECT_NEAR(c[2], 0, 0.02);
    }
}

TEST(ColorMap, DivergingMapIsNeutralInTheMiddleAndEvenOnBothSides) {
    const std::span<const uint32_t, 256> colors = table(ColorMap::kBlueOrange);
    // 256 entries have no middle one: the two beside it are 1/255 of the way to an end whose chroma is below 60.
    for (size_t i : {127u, 128u}) {
        const Triple middle = lab(linear_rgb(colors[i]));
        EXPECT_LT(std::hypot(middle[1], middle[2]), 60.0 / 255 + 0.5);
    }
    for (size_t i = 0; i < 128; ++i) {
        const Triple low = lab(linear_rgb(colors[i])), high = lab(linear_rgb(colors[255 - i]));
        EXPECT_NEAR(low[0], high[0], 8) << "equal Oklab lightness; CIE L* of blue and orange differs by less than this";
    }
    EXPECT_GT(channel_of(colors[0], 2), channel_of(colors[0], 0));
    EXPECT_GT(channel_of(colors[255], 0), channel_of(colors[255], 2));
}

TEST(ColorMap, SampleClampsAndMarksMissingValues) {
    for (ColorMap map : kColorMaps) {
        EXPECT_EQ(sample(map, -3), table(map)[0]);
        EXPECT_EQ(sample(map, 3), table(map)[255]);
        EXPECT_EQ(sample(map, 100.0f / 255), table(map)[100]);
        EXPECT_EQ(sample(map, std::numeric_limits<float>::quiet_NaN()), no_value_color());
    }
}

TEST(ColorMap, TextReadsOnEveryColour) {
    for (ColorMap map : kColorMaps)
        for (uint32_t color : table(map)) EXPECT_GE(contrast(color, text_color_on(color)), 4.5) << name_of(map);
    for (int i = 0; i < 8; ++i) EXPECT_GE(contrast(pinned_color(i), text_color_on(pinned_color(i))), 4.5) << i;
}

TEST(ColorMap, PinnedColoursStayApartWithColourVisionDeficiency) {
    // Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, severity 1: linear RGB in, linear RGB out.
    const double views[4][3][3] = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
                                   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
                                   {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
                                   {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}};
    for (const auto& view : views) {
        const auto seen = [&](int index) {
            const Triple in = linear_rgb(pinned_color(index));
            Triple out;
            for (size_t i = 0; i < 3; ++i) out[i] = std::clamp(view[i][0] * in[0] + view[i][1] * in[1] + view[i][2] * in[2], 0.0, 1.0);
            return lab(out);
        };
        for (int i = 0; i < 8; ++i)
            for (int j = 0; j < i; ++j) {
                const Triple a = seen(i), b = seen(j);
                // 2.3 is a just noticeable difference (Mahy et al. 1994); three of them for small marks.
                EXPECT_GT(std::hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]), 3 * 2.3)
                    << i << " and " << j << " in view " << (&view - views);
            }
    }
}

}  // namespace
}  // namespace app
