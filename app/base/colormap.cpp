#include "app/base/colormap.h"

#include <algorithm>
#include <cmath>

namespace app {

namespace {

using Rgb = std::array<double, 3>;                              // 0..1, sRGB-encoded unless said otherwise

uint32_t pack(const Rgb& c) {
    const auto byte = [](double v) { return uint32_t(std::lround(std::clamp(v, 0.0, 1.0) * 255)); };
    return rgb_color(byte(c[0]), byte(c[1]), byte(c[2]));
}

double encode_srgb(double linear) {                             // IEC 61966-2-1
    return linear <= 0.0031308 ? 12.92 * linear : 1.055 * std::pow(linear, 1 / 2.4) - 0.055;
}
double decode_srgb(double encoded) { return encoded <= 0.04045 ? encoded / 12.92 : std::pow((encoded + 0.055) / 1.055, 2.4); }

template <size_t N>
double polynomial(const std::array<double, N>& coefficients, double t) {
    double value = 0;
    for (size_t i = N; i-- > 0;) value = value * t + coefficients[i];
    return value;
}

/// Nunez, Anderton and Renslow, "Optimizing colormaps with consideration for color vision deficiency", PLoS ONE 13(7), 2018; the quintic
/// fit that d3-scale-chromatic publishes for it (channels in 0..255).
Rgb cividis(double t) {
    static constexpr std::array<double, 6> kRed{-4.54, -35.34, 2381.73, -6402.7, 7024.72, -2710.57};
    static constexpr std::array<double, 6> kGreen{32.49, 170.73, 52.82, -131.46, 176.58, -67.37};
    static constexpr std::array<double, 6> kBlue{81.24, 442.36, -2482.43, 6167.24, -6614.94, 2475.67};
    return {polynomial(kRed, t) / 255, polynomial(kGreen, t) / 255, polynomial(kBlue, t) / 255};
}

/// Smith and van der Walt's viridis (matplotlib, 2015); degree-6 fit by M. Zucker, shadertoy.com/view/WlfXRN (public domain).
Rgb viridis(double t) {
    static constexpr std::array<double, 7> kRed{0.2777273272234177, 0.1050930431085774, -0.3308618287255563, -4.634230498983486,
                                                6.228269936347081, 4.776384997670288, -5.435455855934631};
    static constexpr std::array<double, 7> kGreen{0.005407344544966578, 1.404613529898575, 0.214847559468213, -5.799100973351585,
                                                  14.17993336680509, -13.74514537774601, 4.645852612178535};
    static constexpr std::array<double, 7> kBlue{0.3340998053353061, 1.384590162594685, 0.09509516302823659, -19.33244095627987,
                                                 56.69055260068105, -65.35303263337234, 26.3124352495832};
    return {polynomial(kRed, t), polynomial(kGreen, t), polynomial(kBlue, t)};
}

/// Even in CIE L* (lightness) from 8 to 96; Y from L* as in CIE 15.
Rgb greys(double t) {
    const double lightness = 8 + 88 * t;
    const double luminance = lightness > 8 ? std::pow((lightness + 16) / 116, 3) : lightness / 903.3;
    const double v = encode_srgb(luminance);
    return {v, v, v};
}

/// Oklab to sRGB: B. Ottosson, "A perceptual color space for image processing", 2020.
Rgb from_oklab(double lightness, double a, double b) {
    const double l = std::pow(lightness + 0.3963377774 * a + 0.2158037573 * b, 3);
    const double m = std::pow(lightness - 0.1055613458 * a - 0.0638541728 * b, 3);
    const double s = std::pow(lightness - 0.0894841775 * a - 1.2914855480 * b, 3);
    const Rgb linear{4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
                     -0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s};
    Rgb encoded;
    for (size_t i = 0; i < 3; ++i) encoded[i] = encode_srgb(std::max(linear[i], 0.0));
    return encoded;
}

/// Blue (hue 255 degrees) to orange (55 degrees) through neutral grey, straight lines in Oklab, the same lightness on both sides.
Rgb blue_orange(double t) {
    const double signed_t = 2 * t - 1, strength = std::abs(signed_t);
    const double hue = (signed_t < 0 ? 255 : 55) * 3.14159265358979323846 / 180, chroma = 0.145 * strength;
    return from_oklab(0.90 - 0.32 * strength, chroma * std::cos(hue), chroma * std::sin(hue));
}

using Table = std::array<uint32_t, 256>;

Table make_table(Rgb (*color)(double)) {
    Table table;
    for (size_t i = 0; i < table.size(); ++i) table[i] = pack(color(double(i) / 255));
    return table;
}

/// WCAG 2.1 relative luminance, 0..1.
double luminance(uint32_t color) {
    const auto channel = [&](int i) { return decode_srgb(double(channel_of(color, i)) / 255); };
    return 0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2);
}

}  // namespace

const char* name_of(ColorMap map) {
    switch (map) {
        case ColorMap::kCividis: return "cividis";
        case ColorMap::kViridis: return "viridis";
        case ColorMap::kGreys: return "greys";
        case ColorMap::kBlueOrange: return "blue-orange";
    }
    return "";
}

std::span<const uint32_t, 256> table(ColorMap map) {
    static const Table tables[] = {make_table(cividis), make_table(viridis), make_table(greys), make_table(blue_orange)};
    return tables[size_t(map)];
}

uint32_t sample(ColorMap map, float t) {
    if (std::isnan(t)) return no_value_color();
    return table(map)[size_t(std::clamp(t, 0.0f, 1.0f) * 255.0f + 0.5f)];
}

uint32_t no_value_color() { return rgb_color(112, 110, 120); }

uint32_t text_color_on(uint32_t background) {
    // White reads better where (1.05)/(L+0.05) > (L+0.05)/0.05, that is below L = 0.179 (WCAG 2.1 contrast ratio).
    return luminance(background) < 0.179 ? rgb_color(255, 255, 255) : rgb_color(0, 0, 0);
}

uint32_t pinned_color(int index) {
    // M. Okabe and K. Ito, "Color Universal Design", 2008; their black, invisible on a dark panel, is a light grey here.
    static constexpr uint32_t kColors[] = {rgb_color(230, 159, 0),  rgb_color(86, 180, 233), rgb_color(0, 158, 115),
                                           rgb_color(240, 228, 66), rgb_color(0, 114, 178),  rgb_color(213, 94, 0),
                                           rgb_color(204, 121, 167), rgb_color(170, 170, 170)};
    return kColors[unsigned(index) % std::size(kColors)];
}

}  // namespace app
