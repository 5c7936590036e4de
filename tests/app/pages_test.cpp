// tests/pages draws a page per view: every panel that shows figures has one.
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "app/views/view.h"

namespace app {
namespace {

/// Controls and states without figures of their own; "dense" needs a download (fetch-dense).
const std::set<std::string> kWithoutPage = {"prompt", "status", "dense"};

TEST(Pages, EveryPanelWithFiguresHasOneWithACommandAndChecks) {
    const auto rows = nlohmann::json::parse(std::ifstream(GATESCOPE_SOURCE "/tests/pages/pages.json"));
    std::set<std::string> views = kWithoutPage;
    for (const auto& row : rows) {
        const std::string view = row["view"];
        EXPECT_TRUE(views.insert(view).second) << view << " has two pages";
        EXPECT_FALSE(row["draw"].empty() || row["commands"].empty() || row["checks"].empty()) << view;
    }
    for (const ViewRow& view : all_views()) EXPECT_EQ(views.erase(view.id), 1u) << view.id << " has no row in pages.json";
    EXPECT_TRUE(views.empty()) << *views.begin() << " is no panel";
}

}  // namespace
}  // namespace app
