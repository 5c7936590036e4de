// Checks this program against golden folders (tests/goldens/README.md): models/NAME, quant/models/NAME, quant/blocks, tokenizer, bad.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/result.h"
#include "engine/decode/decoder.h"
#include "engine/ops/ops.h"

namespace gs {

struct VerifyCase {
    std::string name;                        ///< "mixtral A prefill", "q5_0 blocks", "bad/truncated-at-3.gguf"
    double max_abs_logit_diff = 0;           ///< worst difference of what the case compares (logits, values); 0 where it compares exactly
    double tolerance = 0;
    double expert_agreement = 1;             ///< share of rows with the same expert set, of rows whose margin exceeds the tolerance
    int rows_differ = 0, rows = 0;
    bool greedy_equal = true;
    bool pass = false;
    std::string detail;                      ///< what was compared; the first thing that failed
};

using OpsFactory = std::function<std::shared_ptr<Ops>()>;
/// Which back ends compute the layers of a model that has n of them.
using StageFactory = std::function<std::vector<StageEngine>(int n_layers)>;
/// Recognises the kind of folder by what it holds. One or several cases. make_stages: for golden models; none: make_ops() has all layers.
/// Errors: kInput "not_a_golden".
Result<std::vector<VerifyCase>> verify_golden(const std::filesystem::path& dir, const OpsFactory& make_ops, const StageFactory& make_stages = {});

}  // namespace gs
