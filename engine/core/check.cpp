#include "engine/core/check.h"

#include <cstdio>
#include <cstdlib>

namespace gs {
namespace {
CheckHandler g_handler = nullptr;
}

void set_check_handler(CheckHandler handler) { g_handler = handler; }

void check_failed(const char* file, int line, const char* condition, const char* why) {
    if (g_handler) g_handler(file, line, condition, why);
    std::fprintf(stderr, "gatescope: internal error at %s:%d: %s (%s)\n", file, line, why, condition);
    std::abort();
}

}  // namespace gs
