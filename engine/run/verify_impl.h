// Internal to engine/run: one function a kind of golden folder (tests/goldens/README.md).
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/run/verify.h"

namespace gs {

/// JSON of the user's; throws nlohmann::json::exception, which verify_golden catches.
nlohmann::json read_json(const std::filesystem::path& path);

std::vector<VerifyCase> verify_model(const std::filesystem::path& dir, const StageFactory& make_stages);
std::vector<VerifyCase> verify_blocks(const std::filesystem::path& dir, const OpsFactory& make_ops);
std::vector<VerifyCase> verify_tokenizer(const std::filesystem::path& dir);
std::vector<VerifyCase> verify_bad(const std::filesystem::path& dir, const OpsFactory& make_ops);

/// A case that could not be run at all.
VerifyCase failed_case(std::string name, const Error& error);
/// Notes the first thing that went wrong.
inline void note(VerifyCase& c, const std::string& what) {
    c.pass = false;
    if (c.detail.empty()) c.detail = what;
}
/// |a - b|, infinite when only one of them is finite or either is NaN.
inline double difference(double a, double b) {
    if (a == b) return 0;
    const double d = std::abs(a - b);
    return std::isnan(d) ? HUGE_VAL : d;
}

// With activations rounded to 16 bits (Precision::kFast on quantized weights) the rounding unit is 2^-16 instead of the 2^-24 of f32, for
// which the tolerances of the goldens are meant. Keys and values in f32 are assumed.
constexpr double kFastTolerance = 256;

}  // namespace gs
