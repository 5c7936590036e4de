#include "tests/app/read_png.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wsign-compare"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

namespace app::test {

Picture read_png(const std::filesystem::path& path) {
    Picture picture;
    int channels = 0;
    stbi_uc* pixels = stbi_load(path.c_str(), &picture.width_px, &picture.height_px, &channels, 4);
    if (!pixels) return {};
    picture.rgba.assign(pixels, pixels + static_cast<size_t>(picture.width_px) * static_cast<size_t>(picture.height_px) * 4);
    stbi_image_free(pixels);
    return picture;
}

}  // namespace app::test
