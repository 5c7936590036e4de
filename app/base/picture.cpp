#include "app/base/picture.h"

#include <zlib.h>

#include <cstdlib>

#include "engine/io/atomic_write.h"

/// stb's place for another compressor: zlib's makes files a third smaller than its own. Null when memory is short; stb frees the result.
static unsigned char* compress_for_stb(unsigned char* data, int n_bytes, int* n_out, int level) {
    uLongf n = compressBound(static_cast<uLong>(n_bytes));
    auto* out = static_cast<unsigned char*>(std::malloc(n));
    if (!out || compress2(out, &n, data, static_cast<uLong>(n_bytes), level) != Z_OK) {
        std::free(out);
        return nullptr;
    }
    *n_out = static_cast<int>(n);
    return out;
}

#define STBIW_ZLIB_COMPRESS compress_for_stb
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

gs::Result<void> write_png(const Picture& picture, const std::filesystem::path& path) {
    std::error_code error;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);   // what is wrong shows in writing
    return gs::write_file_atomically(path, png_bytes(picture));
}

}  // namespace app
