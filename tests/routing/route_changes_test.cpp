#include "engine/routing/route_changes.h"

#include <gtest/gtest.h>

#include <cmath>

namespace gs {
namespace {

/// Two tokens at one layer of four experts, two chosen; the second token's runner-up is `second` behind the last one chosen.
TraceSnapshot run(float second, std::vector<int32_t> ids_of_second) {
    TraceInfo info;
    info.router.n_experts = 4;
    info.router.n_used = 2;
    info.n_layers = 1;
    info.moe_layers = {0};
    TraceWriter writer(info);
    const TokenRow rows[2] = {{.id = 1}, {.id = 2}};
    writer.begin_tokens(rows, Policy{});
    const std::vector<float> weights{0.5f, 0.5f};
    writer.set_route(0, 0, std::vector<float>{3, 2, 1, 0}, std::vector<int32_t>{0, 1}, weights);
    writer.set_route(0, 1, std::vector<float>{3, 2, 2 - second, 0}, ids_of_second, weights);
    writer.publish();
    return writer.snapshot();
}

TEST(RouteChanges, AreCountedByTheMarginOfTheFirstRun) {
    const TraceSnapshot a = run(0.02f, {0, 1}), b = run(-0.02f, {2, 0});
    const RouteChanges changes = route_changes(a, b);
    EXPECT_EQ(changes.decisions, 2u);
    EXPECT_EQ(changes.changed, 1u);
    ASSERT_EQ(changes.bands.size(), 5u);
    EXPECT_EQ(changes.bands[1].decisions, 1u) << "0.02 is in the band below 0.05";
    EXPECT_EQ(changes.bands[1].changed, 1u);
    EXPECT_EQ(changes.bands[4].decisions, 1u) << "a margin of 1 is in the last band";
    EXPECT_EQ(changes.bands[4].changed, 0u);
    EXPECT_NEAR(changes.largest_margin_changed, 0.02, 1e-6);
    EXPECT_NEAR(changes.rms_logit_difference, std::sqrt(0.04 * 0.04 / 8), 1e-6);
}

TEST(RouteChanges, DoNotSeeTheOrderOfTheChosen) {
    EXPECT_EQ(route_changes(run(0.5f, {0, 1}), run(0.5f, {1, 0})).changed, 0u);
}

TEST(RouteChanges, OfNoTokensAreNone) {
    const RouteChanges changes = route_changes(TraceSnapshot{}, TraceSnapshot{});
    EXPECT_EQ(changes.decisions, 0u);
    EXPECT_EQ(changes.rms_logit_difference, 0);
}

}  // namespace
}  // namespace gs
