#include "app/shell/picture.h"

#include "app/shell/file_io.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>
#pragma GCC diagnostic pop

namespace app {

std::string png_bytes(const Picture& picture) {
    std::string png;
    const auto append = [](void* out, void* data, int size) {
        static_cast<std::string*>(out)->append(static_cast<char*>(data), size_t(size));
    };
    stbi_write_png_to_func(append, &png, picture.width_px, picture.height_px, 4, picture.rgba.data(), picture.width_px * 4);
    return png;
}

gs::Result<void> write_png(const Picture& picture, const std::filesystem::path& path) { return write_file_atomically(path, png_bytes(picture)); }

}  // namespace app
