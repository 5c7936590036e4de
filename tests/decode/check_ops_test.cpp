// What `gatescope selftest` finds about the operations of a back end.
#include "engine/run/check_ops.h"

#include <gtest/gtest.h>

#include "engine/ops/cuda/cuda_engine.h"
#include "tests/support/forwarding_ops.h"

namespace gs {
namespace {

void expect_right(Ops& ops) {
    const std::vector<OpsCheck> checks = check_ops(ops);
    EXPECT_GT(checks.size(), 100u);
    double worst = 0;
    for (const OpsCheck& c : checks) {
        EXPECT_TRUE(c.pass) << c.name << ": " << c.worst << " times the bound";
        worst = std::max(worst, c.worst);
    }
    std::printf("%s: %zu checks, worst %.2f of the bound\n", ops.name().c_str(), checks.size(), worst);
}

TEST(CheckOps, TheProcessorIsRight) {
    for (const Precision precision : {Precision::kExact, Precision::kFast}) expect_right(*make_cpu_ops({.n_threads = 2, .precision = precision}));
}

TEST(CheckOps, TheEmulatedDeviceIsRight) {
    for (const Precision precision : {Precision::kExact, Precision::kFast}) {
        Result<std::unique_ptr<Ops>> ops = make_cuda_ops({.precision = precision});
        ASSERT_TRUE(ops);
        expect_right(**ops);
    }
}

class WrongOps final : public test::ForwardingOps {
public:
    using ForwardingOps::ForwardingOps;
    void add(Rows x, Rows y, float scale) override { ForwardingOps::add(x, y, scale * 1.00001f); }
};

TEST(CheckOps, ASmallMistakeIsFound) {
    WrongOps ops(make_cpu_ops({.n_threads = 1, .precision = Precision::kExact}));
    int n_wrong = 0;
    for (const OpsCheck& c : check_ops(ops)) {
        EXPECT_EQ(c.pass, c.name != "add") << c.name;
        n_wrong += !c.pass;
    }
    EXPECT_EQ(n_wrong, 1);
}

}  // namespace
}  // namespace gs
