#include "app/shell/app_settings.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "app/shell/theme.h"

namespace app {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxPromptBytes = 1 << 20;
const Json* find(const Json& object, const char* key) {
    const auto it = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && it != object.end() ? &*it : nullptr;
}

void read_bool(const Json& object, const char* key, bool& value) {
    if (const Json* j = find(object, key); j && j->is_boolean()) value = j->get<bool>();
}

template <class T>
void read_number(const Json& object, const char* key, T& value, double low, double high) {
    const Json* j = find(object, key);
    if (!j || !j->is_number()) return;
    const double number = j->get<double>();
    if (number >= low && number <= high) value = static_cast<T>(number);
}

void read_texts(const Json& object, const char* key, std::vector<std::string>& values) {
    const Json* j = find(object, key);
    if (!j || !j->is_array()) return;
    values.clear();
    for (const Json& item : *j)
        if (item.is_string()) values.push_back(item.get<std::string>());
}

template <class E, size_t N>
void read_name(const Json& object, const char* key, const std::array<const char*, N>& names, E& value) {
    const Json* j = find(object, key);
    if (!j || !j->is_string()) return;
    const auto it = std::find(names.begin(), names.end(), j->get<std::string>());
    if (it != names.end()) value = static_cast<E>(it - names.begin());
}

void read_map(const Json& object, ColorMap& map) {
    const Json* j = find(object, "color_map");
    if (!j || !j->is_string()) return;
    for (const ColorMap candidate : kColorMaps)
        if (j->get<std::string>() == name_of(candidate)) map = candidate;
}

void read_sampler(const Json& object, gs::SamplerSettings& sampler) {
    const Json* j = find(object, "sampler");
    if (!j || !j->is_string()) return;
    if (const auto parsed = gs::SamplerSettings::parse(j->get<std::string>())) sampler = *parsed;
}

}  // namespace

void read_settings(const Json& values, ViewSettings& settings, Appearance& appearance) {
    if (const Json* theme = find(values, "theme"); theme && theme->is_string())
        if (ThemeKind known; parse_theme(theme->get_ref<const std::string&>(), known)) appearance.theme = name_of(known);
    read_number(values, "scale", appearance.scale, kMinScale, kMaxScale);
    read_name(values, "quantity", kQuantityNames, settings.quantity);
    read_name(values, "token_color", kTokenColorNames, settings.token_color);
    read_name(values, "phase", kPhaseNames, settings.phase);
    read_map(values, settings.map);
    read_bool(values, "auto_range", settings.auto_range);
    read_bool(values, "choice_signs", settings.choice_signs);
    read_number(values, "logit_error", settings.logit_error, 0, 100);
    read_bool(values, "chat", settings.chat);
    read_bool(values, "k_hint_done", settings.k_hint_done);
    read_bool(values, "ghosts", settings.ghosts);
    read_number(values, "max_new_tokens", settings.max_new_tokens, 1, 1 << 20);
    read_sampler(values, settings.sampler);
    read_number(values, "study_max_tokens", settings.study.max_tokens, 2, 1 << 20);
    read_texts(values, "study_left_out", settings.study.left_out);
    read_texts(values, "study_files", settings.study.files);
    if (const Json* prompt = find(values, "prompt");
        prompt && prompt->is_string() && prompt->get_ref<const std::string&>().size() <= kMaxPromptBytes)
        settings.prompt = prompt->get<std::string>();
}

void write_settings(Json& values, const ViewSettings& settings, const Appearance& appearance) {
    values["theme"] = appearance.theme;
    values["scale"] = std::round(appearance.scale * 100) / 100;
    values["quantity"] = kQuantityNames[static_cast<size_t>(settings.quantity)];
    values["token_color"] = kTokenColorNames[static_cast<size_t>(settings.token_color)];
    values["phase"] = kPhaseNames[static_cast<size_t>(settings.phase)];
    values["color_map"] = name_of(settings.map);
    values["auto_range"] = settings.auto_range;
    values["choice_signs"] = settings.choice_signs;
    values["logit_error"] = settings.logit_error;
    values["chat"] = settings.chat;
    values["k_hint_done"] = settings.k_hint_done;
    values["ghosts"] = settings.ghosts;
    values["max_new_tokens"] = settings.max_new_tokens;
    values["sampler"] = settings.sampler.to_text();
    values["prompt"] = settings.prompt;
    values["study_max_tokens"] = settings.study.max_tokens;
    values["study_left_out"] = settings.study.left_out;
    values["study_files"] = settings.study.files;
}

static void read_left_layouts(const Json& values, LayoutState& state) {
    const Json* layouts = find(values, "left_layouts");
    for (const LayoutKind layout : kLayouts) {
        const Json* left = layouts && layout != state.layout ? find(*layouts, name_of(layout)) : nullptr;
        const Json* docking = left ? find(*left, "docking") : nullptr;
        const bool usable = docking && docking->is_string() && docking->get_ref<const std::string&>().find(kDockingSection) != std::string::npos;
        if (!usable) continue;
        Arrangement& arrangement = state.others[layout];
        arrangement.docking = docking->get<std::string>();
        read_texts(*left, "open_panels", arrangement.open);
    }
}

bool read_layout(const Json& values, LayoutState& state) {
    read_name(values, "layout", kLayoutNames, state.layout);
    const Json *version = find(values, "layout_version"), *open = find(values, "open_panels");
    const bool current = version && version->is_number_integer() && version->get<int64_t>() == layout_version() && open && open->is_array();
    if (!current) return false;
    read_texts(values, "open_panels", state.open);
    read_left_layouts(values, state);
    return true;
}

void write_layout(Json& values, const LayoutState& state) {
    values["layout"] = name_of(state.layout);
    values["open_panels"] = state.open;
    values["layout_version"] = layout_version();
    Json left = Json::object();
    for (const auto& [layout, arrangement] : state.others) left[name_of(layout)] = {{"open_panels", arrangement.open}, {"docking", arrangement.docking}};
    values["left_layouts"] = left;
}

}  // namespace app
