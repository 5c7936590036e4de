#include "app/report/report_pictures.h"

#include <algorithm>
#include <cmath>

#include "app/base/picture.h"
#include "engine/io/base64.h"

namespace app {
namespace {

constexpr int kMostColumns = 4096;

std::string uri_of(const Picture& picture) { return "data:image/png;base64," + gs::base64(png_bytes(picture)); }

void put(Picture& picture, int x, int y, uint32_t color) {
    uint8_t* pixel = &picture.rgba[(static_cast<size_t>(y) * static_cast<size_t>(picture.width_px) + static_cast<size_t>(x)) * 4];
    for (const int channel : {0, 1, 2}) *pixel++ = channel_of(color, channel);
    *pixel = 255;
}

Picture blank(int width, int height) { return {width, height, std::vector<uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 4)}; }

}  // namespace

std::string picture_uri(int n_cols, int n_rows, ColorMap map, float low, float high, const std::function<float(int, int)>& value) {
    const int step = (n_cols + kMostColumns - 1) / kMostColumns, width = (n_cols + std::max(step, 1) - 1) / std::max(step, 1);
    Picture picture = blank(std::max(width, 1), std::max(n_rows, 1));
    for (int x = 0; x < width; ++x)
        for (int row = 0; row < n_rows; ++row) {
            float largest = std::nanf("");
            for (int col = x * step; col < std::min(n_cols, (x + 1) * step); ++col) largest = std::fmax(largest, value(col, row));
            put(picture, x, row, sample(map, (largest - low) / (high - low)));
        }
    return uri_of(picture);
}

std::string color_bar_uri(ColorMap map) {
    Picture picture = blank(256, 1);
    for (int x = 0; x < 256; ++x) put(picture, x, 0, table(map)[static_cast<size_t>(x)]);
    return uri_of(picture);
}

}  // namespace app
