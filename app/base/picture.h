// A picture in memory, and as a PNG file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/result.h"

namespace app {

/// Rows from the top, 4 bytes a pixel: red, green, blue, alpha (255).
struct Picture {
    int width_px = 0, height_px = 0;
    std::vector<uint8_t> rgba;
    /// 0xRRGGBB
    uint32_t pixel(int x, int y) const {
        const uint8_t* p = &rgba[(size_t(y) * size_t(width_px) + size_t(x)) * 4];
        return uint32_t(p[0]) << 16 | uint32_t(p[1]) << 8 | p[2];
    }
};

/// The picture as a PNG file.
std::string png_bytes(const Picture& picture);
/// Written to a temporary name and renamed. Errors: kRun "cannot_write" with the path and the system's reason.
gs::Result<void> write_png(const Picture& picture, const std::filesystem::path& path);

}  // namespace app
