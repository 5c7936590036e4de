// A PNG file as a picture, read by stb: not by the code that wrote it.
#pragma once

#include "app/base/picture.h"

namespace app::test {

/// Without a size when the file cannot be read.
Picture read_png(const std::filesystem::path& path);

}  // namespace app::test
