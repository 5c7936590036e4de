#include "app/shell/state_line.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "app/shell/app_settings.h"

namespace app {
namespace {

constexpr size_t kMaxLineBytes = 4u << 20, kMaxPromptBytes = 1u << 20;
constexpr int kMaxIndex = 1 << 24;

gs::Error bad(std::string_view key, std::string_view value, std::string allowed) {
    const std::string shown(value.substr(0, 60));
    return {gs::ErrorKind::kUsage, "bad_state", "The state line cannot be used", fmt::format("{}={} is not possible: {}", key, shown, allowed),
            "Copy the line again, or leave this part out"};
}

/// Quoted when it has to be: spaces, quotes, backslashes, control characters.
std::string in_quotes(std::string_view text) {
    if (!text.empty() && std::none_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == '"' || c == '\\' || c == 0x7f; })) return std::string(text);
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\', out += c;
        else if (c == '\n') out += "\\n";
        else if (c == '\t') out += "\\t";
        else if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        else out += c;
    }
    return out + '"';
}

/// The value at the beginning of `rest`, which loses it. False: a quote without its end, or an escape that there is not.
bool take_value(std::string_view& rest, std::string& value) {
    value.clear();
    if (rest.empty() || rest[0] != '"') {
        const size_t end = std::min(rest.find(' '), rest.size());
        value = rest.substr(0, end);
        rest.remove_prefix(end);
        return true;
    }
    for (size_t i = 1; i < rest.size(); ++i) {
        if (rest[i] == '"') {
            rest.remove_prefix(i + 1);
            return true;
        }
        if (rest[i] != '\\') {
            value += rest[i];
            continue;
        }
        if (++i >= rest.size()) return false;
        if (rest[i] == 'n') value += '\n';
        else if (rest[i] == 't') value += '\t';
        else if (rest[i] == '"' || rest[i] == '\\') value += rest[i];
        else if (rest[i] == 'x' && i + 2 < rest.size()) {
            unsigned byte = 0;
            const auto [end, error] = std::from_chars(rest.data() + i + 1, rest.data() + i + 3, byte, 16);
            if (error != std::errc() || end != rest.data() + i + 3) return false;
            value += static_cast<char>(byte);
            i += 2;
        } else {
            return false;
        }
    }
    return false;
}

gs::Result<int> read_int(std::string_view key, const std::string& value, int low, int high) {
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < low || number > high)
        return bad(key, value, fmt::format("a whole number from {} to {}", low, high));
    return number;
}

template <class E, size_t N>
gs::Result<E> read_name(std::string_view key, const std::string& value, const std::array<const char*, N>& names) {
    const auto* found = std::find(names.begin(), names.end(), value);
    if (found == names.end()) return bad(key, value, fmt::format("{}", fmt::join(names, ", ")));
    return static_cast<E>(found - names.begin());
}

constexpr std::array kModeNames = {"raw", "chat"};
constexpr std::array kRangeNames = {"fixed", "auto"};
constexpr std::array kColorMapNames = {"cividis", "viridis", "greys", "blue-orange"};

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    for (size_t from = 0; from < text.size();) {
        const size_t end = std::min(text.find(',', from), text.size());
        if (end > from) parts.push_back(text.substr(from, end - from));
        from = end + 1;
    }
    return parts;
}

gs::Result<void> read_run_key(StateLine& s, std::string_view key, const std::string& value) {
    if (key == "prompt") {
        if (value.size() > kMaxPromptBytes) return bad(key, value, "at most 1 MiB");
        s.settings.prompt = value;
    } else if (key == "mode") {
        GS_TRY(s.settings.chat, read_name<bool>(key, value, kModeNames));
    } else if (key == "tokens") {
        GS_TRY(s.settings.max_new_tokens, read_int(key, value, 1, 1 << 20));
    } else if (key == "sampler") {
        const auto sampler = gs::SamplerSettings::parse(value);
        if (!sampler) return bad(key, value, sampler.error().why);
        s.settings.sampler = *sampler;
    } else if (key == "policy" || key == "compare") {
        const auto policy = gs::Policy::parse(value);
        if (!policy) return bad(key, value, policy.error().why);
        if (key == "policy") s.policy = *policy;
        else s.compare = *policy;
    } else if (key == "model") {
        s.model = value;
    }
    return {};
}

gs::Result<void> read_view_key(StateLine& s, std::string_view key, const std::string& value) {
    if (key == "token") {
        GS_TRY(s.pick.token, read_int(key, value, 0, kMaxIndex));
    } else if (key == "layer") {
        GS_TRY(s.pick.moe_layer, read_int(key, value, 0, kMaxIndex));
    } else if (key == "expert") {
        GS_TRY(s.pick.expert, read_int(key, value, 0, kMaxIndex));
    } else if (key == "layout") {
        GS_TRY(s.layout, read_name<LayoutKind>(key, value, kLayoutNames));
    } else if (key == "show") {
        s.show = split(value);
    } else if (key == "zoom") {
        s.zoom = value;
    } else if (key == "quantity") {
        GS_TRY(s.settings.quantity, read_name<Quantity>(key, value, kQuantityNames));
    } else if (key == "color") {
        GS_TRY(s.settings.token_color, read_name<TokenColor>(key, value, kTokenColorNames));
    } else if (key == "phase") {
        GS_TRY(s.settings.phase, read_name<gs::PhaseFilter>(key, value, kPhaseNames));
    } else if (key == "map") {
        GS_TRY(s.settings.map, read_name<ColorMap>(key, value, kColorMapNames));
    } else if (key == "range") {
        GS_TRY(s.settings.auto_range, read_name<bool>(key, value, kRangeNames));
    }
    return {};
}

}  // namespace

bool StateLine::operator==(const StateLine& other) const { return to_line(*this) == to_line(other); }

std::string to_line(const StateLine& s) {
    static const StateLine none;
    const ViewSettings &v = s.settings, &d = none.settings;
    std::string line = fmt::format("{} prompt={}", kStateVersion, in_quotes(v.prompt));
    const auto add = [&](const char* key, const std::string& value, bool differs) {
        if (differs) line += fmt::format(" {}={}", key, in_quotes(value));
    };
    add("mode", kModeNames[v.chat], v.chat != d.chat);
    add("tokens", std::to_string(v.max_new_tokens), v.max_new_tokens != d.max_new_tokens);
    add("sampler", v.sampler.to_text(), v.sampler != d.sampler);
    add("policy", s.policy.to_text(), true);
    add("compare", s.compare ? s.compare->to_text() : "", s.compare.has_value());
    add("token", std::to_string(s.pick.token), s.pick.token >= 0);
    add("layer", std::to_string(s.pick.moe_layer), s.pick.moe_layer >= 0);
    add("expert", std::to_string(s.pick.expert), s.pick.expert >= 0);
    add("layout", name_of(s.layout), s.layout != none.layout);
    add("show", fmt::format("{}", fmt::join(s.show, ",")), !s.show.empty());
    add("zoom", s.zoom, !s.zoom.empty());
    add("quantity", kQuantityNames[static_cast<size_t>(v.quantity)], v.quantity != d.quantity);
    add("color", kTokenColorNames[static_cast<size_t>(v.token_color)], v.token_color != d.token_color);
    add("phase", kPhaseNames[static_cast<size_t>(v.phase)], v.phase != d.phase);
    add("map", kColorMapNames[static_cast<size_t>(v.map)], v.map != d.map);
    add("range", kRangeNames[v.auto_range], v.auto_range != d.auto_range);
    add("model", s.model, !s.model.empty());
    return line;
}

gs::Result<StateLine> parse_state_line(std::string_view line) {
    constexpr std::string_view blank = " \t\r\n";
    const size_t begin = std::min(line.find_first_not_of(blank), line.size());
    line = line.substr(begin, line.find_last_not_of(blank) + 1 - begin);
    const std::string_view name = kStateVersion.substr(0, kStateVersion.find('/') + 1);
    if (line.size() > kMaxLineBytes || !line.starts_with(name))
        return gs::Error{gs::ErrorKind::kUsage, "not_a_state", "This is no state of Gatescope", fmt::format("a state is one line that begins with {}", kStateVersion),
                         "Copy one with \"Copy state\""};
    const std::string_view version = line.substr(0, std::min(line.find(' '), line.size()));
    if (version != kStateVersion)
        return gs::Error{gs::ErrorKind::kUsage, "state_version", "The state line cannot be used",
                         fmt::format("it is of version {}, this program reads {}", version.substr(0, 40), kStateVersion), "Use the version of Gatescope that wrote it"};
    StateLine state;
    state.settings.prompt.clear();
    line.remove_prefix(version.size());
    std::string value;
    while (true) {
        line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
        if (line.empty()) return state;
        const size_t equals = line.find('=');
        const std::string key(line.substr(0, std::min(equals, line.size())));
        if (equals == std::string_view::npos || key.empty() || key.find(' ') != std::string::npos)
            return bad(key.substr(0, key.find(' ')), "", "every part is key=value");
        line.remove_prefix(equals + 1);
        if (!take_value(line, value)) return bad(key, value, "its quoted text does not end, or has an escape other than \\n \\t \\\\ \\\" \\xHH");
        GS_TRY_VOID(read_run_key(state, key, value));
        GS_TRY_VOID(read_view_key(state, key, value));
    }
}

}  // namespace app
