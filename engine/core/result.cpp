#include "engine/core/result.h"

namespace gs {

std::string Error::message() const {
    std::string text = what;
    if (!why.empty()) text += ": " + why;
    if (!text.empty() && text.back() != '.') text += '.';
    if (!remedy.empty()) text += ' ' + remedy;
    return text;
}

int exit_code(ErrorKind kind) {
    switch (kind) {
        case ErrorKind::kUsage: return 2;
        case ErrorKind::kInput: return 3;
        case ErrorKind::kDevice: return 4;
        case ErrorKind::kRun:
        case ErrorKind::kCancelled: return 1;
    }
    return 1;
}

}  // namespace gs
