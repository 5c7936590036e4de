#include "engine/ops/cpu/code_books.h"

#include "engine/model/tensor_type_grids.h"

namespace gs::cpu {
namespace {

template <size_t kEntries, class Entry, class Value>
CodeBookTables<kEntries, Entry> tables(const std::array<uint16_t, kEntries>& grid, const Value& value) {
    constexpr int kValues = sizeof(Entry), kBits = 16 / kValues;   // an entry's levels fill 16 bits
    CodeBookTables<kEntries, Entry> out{};
    for (size_t e = 0; e < kEntries; ++e)
        for (int j = 0; j < kValues; ++j) {
            const int level = grid[e] >> kBits * j & ((1 << kBits) - 1);
            out.bytes[e] |= static_cast<Entry>(static_cast<uint8_t>(value(level))) << 8 * j;
            out.words[e] = static_cast<uint16_t>(out.words[e] | level << (j / 2 * kBits + j % 2 * 8));
        }
    for (int level = 0; level < 1 << (kBits == 2 ? 2 : 3); ++level) out.raised[static_cast<size_t>(level)] = static_cast<uint8_t>(value(level) + 128);
    return out;
}

auto level_of(const int8_t* levels) {
    return [levels](int level) { return levels[level]; };
}

}  // namespace

const CodeBookIq2Xxs kBookIq2Xxs = tables<256, uint64_t>(kGridIq2Xxs, level_of(kLevelsIq2));
const CodeBookIq2Xs kBookIq2Xs = tables<512, uint64_t>(kGridIq2Xs, level_of(kLevelsIq2));
const CodeBookIq2S kBookIq2S = tables<1024, uint64_t>(kGridIq2S, level_of(kLevelsIq2));
const CodeBookIq1 kBookIq1 = tables<2048, uint64_t>(kGridIq1, [](int level) { return 8 * (level - 1); });
const CodeBookIq3Xxs kBookIq3Xxs = tables<256, uint32_t>(kGridIq3Xxs, level_of(kLevelsIq3Xxs));
const CodeBookIq3S kBookIq3S = tables<512, uint32_t>(kGridIq3S, level_of(kLevelsIq3S));

}  // namespace gs::cpu
