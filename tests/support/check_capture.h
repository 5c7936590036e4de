// Broken contracts as test results: inside, GS_CHECK throws instead of aborting.
//
//   EXPECT_CHECK_FAILS(writer.publish(), "every MoE layer");
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>

namespace gs::test {

struct CheckFailure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Runs it and returns the reason of the contract it breaks; empty if it breaks none.
std::string broken_contract(const std::function<void()>& run);

}  // namespace gs::test

#define EXPECT_CHECK_FAILS(statement, part)                                                          \
    do {                                                                                             \
        const std::string gs_why_ = ::gs::test::broken_contract([&] { (void)(statement); });         \
        EXPECT_NE(gs_why_.find(part), std::string::npos) << #statement " broke: \"" << gs_why_ << '"'; \
    } while (false)
