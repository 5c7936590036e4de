// The text form of the sampler settings.
#include <fmt/format.h>

#include <charconv>

#include "engine/decode/sampler.h"
#include "engine/model/gguf.h"

namespace gs {
namespace {

constexpr const char* kItems = "greedy, temp=0..100, top_k=0..1000000, top_p=0..1, min_p=0..1, repeat=0.1..10, window=0..1000000, seed=N";

Error bad_item(std::string_view item, const std::string& why) {
    return {ErrorKind::kUsage, "bad_sampler", fmt::format("Cannot read the sampler setting \"{}\"", sanitise_for_display(item, 40)), why,
            fmt::format("Known are, separated by commas: {}", kItems)};
}

template <class T>
Result<void> read_number(std::string_view item, std::string_view text, T low, T high, T& out) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return bad_item(item, "it is not a number of the kind needed");
    if (!(value >= low && value <= high)) return bad_item(item, fmt::format("it must lie between {} and {}", low, high));
    out = value;
    return {};
}

Result<void> read_item(std::string_view item, SamplerSettings& s) {
    if (item == "greedy") {
        s.temperature = 0;
        return {};
    }
    const size_t equals = item.find('=');
    if (equals == std::string_view::npos) return bad_item(item, "there is no \"=\" in it");
    const std::string_view key = item.substr(0, equals), value = item.substr(equals + 1);
    if (key == "temp") return read_number(item, value, 0.0f, 100.0f, s.temperature);
    if (key == "top_k") return read_number(item, value, 0, 1000000, s.top_k);
    if (key == "top_p") return read_number(item, value, 0.0f, 1.0f, s.top_p);
    if (key == "min_p") return read_number(item, value, 0.0f, 1.0f, s.min_p);
    if (key == "repeat") return read_number(item, value, 0.1f, 10.0f, s.repeat_penalty);
    if (key == "window") return read_number(item, value, 0, 1000000, s.repeat_window);
    if (key == "seed") return read_number<uint64_t>(item, value, 0, UINT64_MAX, s.seed);
    return bad_item(item, "there is no setting of that name");
}

}  // namespace

Result<SamplerSettings> SamplerSettings::parse(std::string_view text) {
    SamplerSettings settings;
    while (!text.empty()) {
        const size_t comma = std::min(text.find(','), text.size());
        GS_TRY_VOID(read_item(text.substr(0, comma), settings));
        if (comma + 1 == text.size()) return bad_item(text, "it ends with a comma");
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return settings;
}

std::string SamplerSettings::to_text() const {
    // Greedy ignores the other settings, so they are only written where they differ from the defaults; reading gives the same value back.
    const SamplerSettings usual;
    const bool brief = is_greedy();
    std::string text = brief ? "greedy" : fmt::format("temp={}", temperature);
    if (top_k != usual.top_k) text += fmt::format(",top_k={}", top_k);
    if (!brief || top_p != usual.top_p) text += fmt::format(",top_p={}", top_p);
    if (min_p != usual.min_p) text += fmt::format(",min_p={}", min_p);
    if (!brief || repeat_penalty != usual.repeat_penalty) text += fmt::format(",repeat={}", repeat_penalty);
    if (repeat_window != usual.repeat_window) text += fmt::format(",window={}", repeat_window);
    if (!brief || seed != usual.seed) text += fmt::format(",seed={}", seed);
    return text;
}

}  // namespace gs
