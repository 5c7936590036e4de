// Contract checks: always on, for mistakes in our own code. User input must never reach one; it gets a Result.
//
//   GS_CHECK(k >= 1 && k <= n_experts, "top-k out of range");
#pragma once

namespace gs {

/// Prints file, line, condition and reason to stderr and aborts. Tests may replace it (see set_check_handler).
[[noreturn]] void check_failed(const char* file, int line, const char* condition, const char* why);

/// Called instead of aborting, so that a test can assert on a broken contract. The handler must not return.
using CheckHandler = void (*)(const char* file, int line, const char* condition, const char* why);
void set_check_handler(CheckHandler handler);

}  // namespace gs

#define GS_CHECK(cond, why) \
    do {                    \
        if (!(cond)) ::gs::check_failed(__FILE__, __LINE__, #cond, why); \
    } while (false)
