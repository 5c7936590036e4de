// The golden vectors of moe-families.md section 10, computed there in double precision and printed to six decimals.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/routing/router.h"

namespace gs {
namespace {

using Floats = std::vector<float>;
using Ids = std::vector<int32_t>;

const Floats kLogits = {0.50f, -1.00f, 2.00f, 1.25f, -0.25f, 1.75f, 0.00f, -2.00f};
const Floats kBias = {0, 0.30f, -0.40f, 0.10f, 0.20f, -0.30f, 0.05f, 0.50f};

RouterSpec spec_of(ScoreFn score, int k, bool renormalise, int n_experts = 8) {
    return {.n_experts = n_experts, .n_used = k, .score = score, .renormalise = renormalise};
}

/// Half a unit of the sixth decimal, and 16 roundings of single precision: a softmax of 8 is about that many operations deep.
void expect_weights(const Floats& got, const std::vector<double>& wanted) {
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) {
        EXPECT_NEAR(got[i], wanted[i], 5e-7 + 16 * std::numeric_limits<float>::epsilon() * std::fabs(wanted[i])) << "slot " << i;
    }
}

void expect_route(const RouterSpec& spec, const Floats& logits, const Floats& bias, const Ids& ids, const std::vector<double>& weights) {
    RouteRow row;
    route(spec, LayerPolicy{}, logits, bias, row);
    EXPECT_EQ(row.ids, ids);
    expect_weights(row.weights, weights);
    EXPECT_FALSE(row.nonfinite);
}

TEST(RouterGolden, SoftmaxAndSigmoidOfTheLogits) {
    Floats out(8);
    preference(spec_of(ScoreFn::kSoftmax, 2, false), kLogits, out);
    expect_weights(out, {0.080172, 0.017889, 0.359307, 0.169725, 0.037871, 0.279829, 0.048627, 0.006581});
    preference(spec_of(ScoreFn::kSigmoid, 2, false), kLogits, out);
    expect_weights(out, {0.622459, 0.268941, 0.880797, 0.777300, 0.437823, 0.851953, 0.500000, 0.119203});
}
TEST(RouterGolden, CaseASoftmaxWithoutRenormalisation) {
    expect_route(spec_of(ScoreFn::kSoftmax, 2, false), kLogits, {}, {2, 5}, {0.359307, 0.279829});
}
TEST(RouterGolden, CaseBSoftmaxRenormalised) {
    expect_route(spec_of(ScoreFn::kSoftmax, 2, true), kLogits, {}, {2, 5}, {0.562177, 0.437823});
}
TEST(RouterGolden, CaseCSelectionBiasChoosesButDoesNotWeigh) {
    expect_route(spec_of(ScoreFn::kSoftmax, 2, true), kLogits, kBias, {7, 1}, {0.268941, 0.731059});
}
TEST(RouterGolden, CaseDSigmoidWithBiasAndScale) {
    RouterSpec spec = spec_of(ScoreFn::kSigmoid, 2, true);
    spec.scale = 2.5f;
    expect_route(spec, kLogits, kBias, {3, 4}, {1.599220, 0.900780});
}
TEST(RouterGolden, CaseEGroupLimitedByTopTwoSum) {
    RouterSpec spec = spec_of(ScoreFn::kSigmoid, 3, true);
    spec.scale = 2.5f;
    spec.n_groups = 4;
    spec.n_groups_used = 2;
    expect_route(spec, kLogits, kBias, {3, 0, 1}, {1.164529, 0.932551, 0.402920});
    RouteRow row;
    route(spec, LayerPolicy{}, kLogits, kBias, row);
    for (int e = 4; e < 8; ++e)
        EXPECT_EQ(row.selection[e], -std::numeric_limits<float>::infinity()) << "expert " << e << " is in a dropped group";
    for (int e = 0; e < 4; ++e) EXPECT_TRUE(std::isfinite(row.selection[e]));
}
TEST(RouterGolden, CaseFTheGroupScoreDecidesTheGroup) {
    const Floats logits = {2, -3, -3, -3, 1.5f, 1.4f, -3, -3};
    RouterSpec spec = spec_of(ScoreFn::kSoftmax, 2, false);
    spec.scale = 16;
    spec.n_groups = 2;
    spec.n_groups_used = 1;
    spec.group_score = GroupScore::kMax;
    expect_route(spec, logits, {}, {0, 1}, {7.309167, 0.049249});
    spec.group_score = GroupScore::kTop2Sum;
    expect_route(spec, logits, {}, {4, 5}, {4.433234, 4.011356});
}
TEST(RouterGolden, CaseGLlama4SelectsByLogits) {
    RouterSpec spec = spec_of(ScoreFn::kSigmoid, 1, false);
    spec.select_by_logits = true;
    expect_route(spec, kLogits, {}, {2}, {0.880797});
}
TEST(RouterGolden, CaseHSoftmaxOverTheSelected) {
    Floats logits = kLogits;
    const Floats router_bias = {0, 0.5f, -0.75f, 0.25f, 0, 0, 1.0f, 0};
    for (size_t e = 0; e < logits.size(); ++e) logits[e] += router_bias[e];
    expect_route(spec_of(ScoreFn::kSoftmaxAfterTopK, 4, false), logits, {}, {5, 3, 2, 6}, {0.349932, 0.272527, 0.212244, 0.165296});
}
TEST(RouterGolden, CaseISparseMixerWithoutAndWithNearTies) {
    const RouterSpec spec = spec_of(ScoreFn::kSparseMixer, 2, false);
    expect_route(spec, kLogits, {}, {2, 5}, {1, 1});
    expect_route(spec, {0.50f, -1.00f, 2.00f, 1.99f, -0.25f, 1.97f, 0.00f, -2.00f}, {}, {2, 3}, {0.337781, 0.505000});
}
TEST(RouterGolden, CaseJSqrtSoftplus) {
    expect_route(spec_of(ScoreFn::kSqrtSoftplus, 2, true), kLogits, {}, {2, 5}, {0.513429, 0.486571});
}
TEST(RouterGolden, CaseKSoftCappedLogits) {
    Floats capped = kLogits;
    for (float& z : capped) z = 30.0f * std::tanh(z / 30.0f);
    expect_route(spec_of(ScoreFn::kSoftmax, 2, false), capped, {}, {2, 5}, {0.358861, 0.279754});
    expect_route(spec_of(ScoreFn::kSoftmax, 2, true), capped, {}, {2, 5}, {0.561936, 0.438064});
}
TEST(RouterGolden, CaseTTiesGoToTheLowerIndex) {
    for (ScoreFn score : {ScoreFn::kSoftmax, ScoreFn::kSigmoid, ScoreFn::kSoftmaxAfterTopK, ScoreFn::kSqrtSoftplus}) {
        RouteRow row;
        route(spec_of(score, 2, false), LayerPolicy{}, Floats(8, 0.3f), {}, row);
        EXPECT_EQ(row.ids, (Ids{0, 1}));
    }
}
TEST(RouterGolden, CaseZTheNormFloorDecidesTinySums) {
    const Floats logits(8, -40.0f);
    RouterSpec spec = spec_of(ScoreFn::kSigmoid, 2, true);
    RouteRow row;
    route(spec, LayerPolicy{}, logits, {}, row);
    const double score = 1.0 / (1.0 + std::exp(40.0));
    EXPECT_NEAR(row.weights[0], score / 6.103515625e-5, 1e-5 * score / 6.103515625e-5);
    spec.norm_floor = 1e-20f;
    route(spec, LayerPolicy{}, logits, {}, row);
    EXPECT_NEAR(row.weights[0], 0.5, 1e-6);
    spec.norm_floor = 0;
    spec.norm_epsilon = 1e-20f;
    route(spec, LayerPolicy{}, logits, {}, row);
    EXPECT_NEAR(row.weights[0], score / (2 * score + 1e-20), 1e-6);
    EXPECT_NEAR(row.weights[0], 0.499, 5e-4);
}

}  // namespace
}  // namespace gs
