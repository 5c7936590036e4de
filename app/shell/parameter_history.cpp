#include "app/shell/parameter_history.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "app/shell/app_settings.h"
#include "app/widgets/token_text.h"

namespace app {
namespace {

constexpr int kShownCharacters = 40;

std::string quoted(const std::string& text) { return "\"" + short_token(text, kShownCharacters) + "\""; }

std::string text_of(const TextChoice& choice) {
    std::string text = choice.source == TextChoice::Source::kSample ? "sample " + choice.sample
                       : choice.source == TextChoice::Source::kRun  ? "run on screen"
                       : choice.own_name.empty()                    ? quoted(choice.own)
                                                                    : choice.own_name;
    return text + fmt::format(", {} tokens", choice.max_tokens);
}

std::string text_of(const StudyChoice& study) {
    std::string text = fmt::format("{} tokens of each", study.max_tokens);
    if (!study.left_out.empty()) text += fmt::format(", without {}", fmt::join(study.left_out, ", "));
    for (const std::string& file : study.files) text += ", " + std::filesystem::path(file).filename().string();
    return text;
}

std::string text_of(const std::vector<gs::AblatedExpert>& ablated) {
    std::vector<std::string> texts;
    for (const gs::AblatedExpert& one : ablated) texts.push_back(one.to_text());
    return texts.empty() ? "none" : fmt::format("{}", fmt::join(texts, ", "));
}

std::string text_of(const TuneChoice& tune) {
    const double limit = tune.limits[static_cast<size_t>(tune.budget)];
    return fmt::format("sweep {} k of the {}, map {} k, budget {} {}", tune.sweep_every_k ? "every" : "some", tune.sweep_on_policy ? "policy" : "trained model",
                       tune.map_every_k ? "every" : "some", gs::name_of(tune.budget), limit > 0 ? fmt::format("{:.4g}", limit) : "as the map begins");
}

/// A member of the settings; `text` says its value in words.
template <auto member, auto text>
constexpr ParameterRow setting(const char* name) {
    return {name, [](ParametersSeen p) -> std::string { return text(p.settings.*member); },
            [](ParametersSeen a, ParametersSeen b) { return a.settings.*member == b.settings.*member; },
            [](const ViewSettings& from, ViewSettings& to) { to.*member = from.*member; }};
}

constexpr auto kNumber = [](auto value) { return fmt::format("{}", value); };
constexpr auto kOnOff = [](bool on) { return std::string(on ? "on" : "off"); };
constexpr auto kText = [](const auto& value) { return text_of(value); };
template <const auto& names>
constexpr auto kName = [](auto value) { return std::string(names[static_cast<size_t>(value)]); };

using S = ViewSettings;
constexpr std::array kParameters = {
    ParameterRow{"routing", [](ParametersSeen p) { return p.policy.to_text(); }, [](ParametersSeen a, ParametersSeen b) { return a.policy == b.policy; }, nullptr},
    setting<&S::prompt, [](const std::string& p) { return quoted(p); }>("prompt"),
    setting<&S::chat, [](bool chat) { return std::string(chat ? "chat" : "raw"); }>("prompt as"),
    setting<&S::max_new_tokens, kNumber>("new tokens"),
    setting<&S::sampler, [](const gs::SamplerSettings& s) { return s.to_text(); }>("sampling"),
    setting<&S::measured_text, kText>("measured text"),
    setting<&S::tune, kText>("measures of k"),
    setting<&S::study, kText>("studied texts"),
    setting<&S::ablated, kText>("ablated experts"),
    setting<&S::ablation_controls, kNumber>("controls of an ablation"),
    setting<&S::quantity, kName<kQuantityNames>>("shown quantity"),
    setting<&S::token_color, kName<kTokenColorNames>>("token colour"),
    setting<&S::phase, kName<kPhaseNames>>("phase"),
    setting<&S::map, [](ColorMap map) { return std::string(name_of(map)); }>("colour map"),
    setting<&S::auto_range, [](bool on) { return std::string(on ? "of the data" : "0 to 1"); }>("colour range"),
    setting<&S::choice_signs, kOnOff>("signs on heatmaps"),
    setting<&S::logit_error, [](float error) { return error != 0 ? fmt::format("{:g}", error) : std::string("rounding to bf16"); }>("error of router logits"),
    setting<&S::ghosts, kOnOff>("ghosts"),
};

ParametersSeen seen(const Parameters& p) { return {p.policy, p.settings}; }

}  // namespace

std::span<const ParameterRow> all_parameters() { return kParameters; }

void ParameterHistory::observe(const gs::Policy& policy, const ViewSettings& settings, bool in_hand) {
    if (m_steps.empty()) {
        m_steps.push_back({{policy, settings}, ""});
        return;
    }
    const Parameters& before = m_steps[m_now].values;
    const bool on_its_way = std::find(m_left.begin(), m_left.end(), policy) != m_left.end();
    if (!on_its_way) m_left.clear();
    if (in_hand) return;
    const ParametersSeen now{on_its_way ? before.policy : policy, settings};
    std::string changes;
    for (const ParameterRow& p : kParameters)
        if (!p.same(seen(before), now)) changes += fmt::format("{}{}: {} → {}", changes.empty() ? "" : "; ", p.name, p.text(seen(before)), p.text(now));
    if (changes.empty()) return;
    Step step{{now.policy, now.settings}, std::move(changes)};
    m_steps.resize(m_now + 1);
    m_steps.push_back(std::move(step));
    if (m_steps.size() > kMaxSteps) m_steps.erase(m_steps.begin());
    m_now = m_steps.size() - 1;
}

const Parameters* ParameterHistory::go_to(size_t step, ViewSettings& settings) {
    if (step >= m_steps.size()) return nullptr;
    const Parameters& wanted = m_steps[step].values;
    m_left.push_back(m_steps[m_now].values.policy);
    std::erase(m_left, wanted.policy);
    m_now = step;
    for (const ParameterRow& p : kParameters)
        if (p.copy) p.copy(wanted.settings, settings);
    return &wanted;
}

}  // namespace app
