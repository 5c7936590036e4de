// Writes the seeds that are built instead of stored: make_seeds FOLDER fills FOLDER/gguf, FOLDER/decode and FOLDER/trace.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/seeds.h"

namespace {

bool write(const std::filesystem::path& folder, const std::vector<gs::test::Seed>& seeds) {
    std::filesystem::create_directories(folder);
    for (const gs::test::Seed& seed : seeds) {
        std::ofstream out(folder / seed.name, std::ios::binary);
        if (!out.write(seed.bytes.data(), static_cast<std::streamsize>(seed.bytes.size())).flush()) return false;
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: make_seeds FOLDER\n");
        return 2;
    }
    const std::filesystem::path folder = argv[1];
    const std::vector<gs::test::Seed> families = gs::test::family_seeds();
    return write(folder / "gguf", families) && write(folder / "decode", families) && write(folder / "trace", gs::test::trace_seeds()) ? 0 : 1;
}
