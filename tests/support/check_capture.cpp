#include "tests/support/check_capture.h"

#include "engine/core/check.h"

namespace gs::test {
namespace {

void throw_instead(const char*, int, const char*, const char* why) { throw CheckFailure(why); }

}  // namespace

std::string broken_contract(const std::function<void()>& run) {
    set_check_handler(&throw_instead);
    std::string why;
    try {
        run();
    } catch (const CheckFailure& failure) {
        why = failure.what();
    }
    set_check_handler(nullptr);
    return why;
}

}  // namespace gs::test
