// How a fuzz target is written: once, for libFuzzer (preset fuzz) and for the test that runs every seed (fuzz_tests).
//
//   GS_FUZZ_TARGET(policy) {
//       FuzzInput in(data, size);
//       …                              // GS_CHECK whatever must hold for any input
//       return 0;
//   }
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "engine/core/check.h"

#ifdef GATESCOPE_FUZZER
#define GS_FUZZ_TARGET(name)                                              \
    extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size); \
    extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
#else
#define GS_FUZZ_TARGET(name)                               \
    int gs::test::fuzz_##name(const uint8_t* data, size_t size)
#endif

namespace gs::test {

int fuzz_gguf(const uint8_t* data, size_t size);
int fuzz_tokenizer(const uint8_t* data, size_t size);
int fuzz_chat(const uint8_t* data, size_t size);
int fuzz_trace(const uint8_t* data, size_t size);
int fuzz_policy(const uint8_t* data, size_t size);
int fuzz_decode(const uint8_t* data, size_t size);

/// Takes an input apart from the front. Past its end there are zeros and empty texts.
class FuzzInput {
public:
    FuzzInput(const uint8_t* data, size_t size) : m_rest(reinterpret_cast<const char*>(data), size) {}

    uint8_t byte() {
        if (m_rest.empty()) return 0;
        const auto value = static_cast<uint8_t>(m_rest.front());
        m_rest.remove_prefix(1);
        return value;
    }
    /// What comes before the next `end` (which is dropped), or all the rest.
    std::string_view until(char end) {
        const size_t n = std::min(m_rest.find(end), m_rest.size());
        const std::string_view text = m_rest.substr(0, n);
        m_rest.remove_prefix(std::min(n + 1, m_rest.size()));
        return text;
    }
    std::string_view rest() const { return m_rest; }
    bool empty() const { return m_rest.empty(); }

private:
    std::string_view m_rest;
};

}  // namespace gs::test
