// Spec and weights of a file in memory.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/model/model.h"
#include "tests/model/gguf_builder.h"

namespace gs::test {

/// What became of a parsed file.
struct Outcome {
    std::string code = "ok", message;
    ModelSpec spec;
    ModelWeights weights;
    std::vector<std::string> warnings;
};

/// `bytes` must outlive the outcome's weights.
inline Outcome load_spec(const Bytes& bytes, Reading reading = Reading::kLlamaCpp) {
    Outcome out;
    const auto failed = [&](const Error& error) {
        out.code = error.code;
        out.message = error.message();
        EXPECT_EQ(error.kind, ErrorKind::kInput);
        return out;
    };
    const auto file = GgufFile::parse(bytes);
    if (!file) return failed(file.error());
    auto spec = read_model_spec(*file, reading);
    if (!spec) return failed(spec.error());
    out.spec = *spec;
    auto weights = bind_weights(*file, out.spec, out.warnings);
    if (!weights) return failed(weights.error());
    out.weights = std::move(*weights);
    return out;
}

}  // namespace gs::test
