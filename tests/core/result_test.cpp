#include "engine/core/result.h"

#include <gtest/gtest.h>

#include <memory>

#include "engine/core/cancel.h"
#include "tests/support/check_capture.h"

namespace gs {
namespace {

Error missing() { return {ErrorKind::kInput, "cannot_open", "Cannot open a.gguf", "there is no such file", "Check the path"}; }

Result<int> half(int n) {
    if (n % 2) return Error{ErrorKind::kUsage, "odd", "Cannot halve", "it is odd", ""};
    return n / 2;
}
Result<int> quarter(int n) {
    GS_TRY(const int once, half(n));
    GS_TRY(int twice, half(once));
    return twice;
}
Result<void> even(int n) {
    if (n % 2) return missing();
    return {};
}
Result<int> checked_half(int n) {
    GS_TRY_VOID(even(n));
    return half(n);
}

TEST(Result, HoldsAValueOrAnError) {
    const Result<int> good = half(8), bad = half(7);
    ASSERT_TRUE(good);
    EXPECT_EQ(*good, 4);
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, "odd");
}

TEST(Result, TryReturnsTheFirstError) {
    EXPECT_EQ(*quarter(12), 3);
    EXPECT_EQ(quarter(7).error().code, "odd");
    EXPECT_EQ(quarter(6).error().code, "odd");
    EXPECT_EQ(*checked_half(4), 2);
    EXPECT_EQ(checked_half(5).error().code, "cannot_open");
}

TEST(Result, CarriesValuesThatOnlyMove) {
    Result<std::unique_ptr<int>> made(std::make_unique<int>(5));
    const std::unique_ptr<int> taken = std::move(made).value();
    EXPECT_EQ(*taken, 5);
}

TEST(Result, ReadingTheWrongSideBreaksAContract) {
    const Result<int> good = half(2), bad = half(1);
    EXPECT_CHECK_FAILS(*bad, "holds an error");
    EXPECT_CHECK_FAILS(good.error(), "holds a value");
    const Result<void> fine;
    EXPECT_CHECK_FAILS(fine.error(), "holds success");
}

TEST(Error, SaysWhatWhyAndTheRemedyOnOneLine) {
    EXPECT_EQ(missing().message(), "Cannot open a.gguf: there is no such file. Check the path");
    Error without = missing();
    without.remedy.clear();
    EXPECT_EQ(without.message(), "Cannot open a.gguf: there is no such file.");
}

TEST(Error, KindsHaveTheExitCodesOfTheCommandLine) {
    EXPECT_EQ(exit_code(ErrorKind::kRun), 1);
    EXPECT_EQ(exit_code(ErrorKind::kCancelled), 1);
    EXPECT_EQ(exit_code(ErrorKind::kUsage), 2);
    EXPECT_EQ(exit_code(ErrorKind::kInput), 3);
    EXPECT_EQ(exit_code(ErrorKind::kDevice), 4);
}

TEST(Check, PassesWhatHoldsAndReportsWhatDoesNot) {
    EXPECT_EQ(test::broken_contract([] { GS_CHECK(1 + 1 == 2, "arithmetic"); }), "");
    EXPECT_EQ(test::broken_contract([] { GS_CHECK(1 + 1 == 3, "arithmetic"); }), "arithmetic");
}

TEST(CheckDeathTest, StopsTheProgramWithPlaceAndReasonWithoutAHandler) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(GS_CHECK(false, "a broken promise"), "result_test.cpp.*a broken promise");
}

TEST(CancelFlag, IsSetAndCleared) {
    CancelFlag flag;
    EXPECT_FALSE(flag.is_set());
    flag.set();
    EXPECT_TRUE(flag.is_set());
    flag.clear();
    EXPECT_FALSE(flag.is_set());
}

}  // namespace
}  // namespace gs
