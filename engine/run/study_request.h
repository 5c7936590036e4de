// Which texts a study of experts is to run over: plain values for commands, without what comes of them.
#pragma once

#include <string>
#include <vector>

#include "engine/routing/policy.h"

namespace gs {

struct StudyText {
    std::string domain;                      ///< texts of the same domain count together
    std::string text;
};

struct StudyRequest {
    std::vector<StudyText> texts;
    int max_tokens = 512;                    ///< of each text, from its beginning
    Policy policy;                           ///< native unless something else is to be studied
    int n_shuffles = 200;                    ///< of each null
};

}  // namespace gs
