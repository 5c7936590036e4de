// Seeds that need no file: the smallest model of every family.
#pragma once

#include <string>
#include <vector>

namespace gs::test {

struct Seed {
    std::string name, bytes;
};

/// Headers alone; the targets gguf and decode add the data.
std::vector<Seed> family_seeds();
/// Small trace files and descriptions of traces, as the target trace reads them.
std::vector<Seed> trace_seeds();

}  // namespace gs::test
