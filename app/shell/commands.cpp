#include "app/shell/commands.h"

#include <algorithm>
#include <cctype>

#include "engine/core/check.h"

namespace app {

const char* name_of(CommandGroup group) {
    constexpr const char* names[] = {"File", "Edit", "Run", "Routing", "Selection", "View", "Panel", "Layout", "Preset", "Bookmark", "Help"};
    return names[static_cast<size_t>(group)];
}

std::string Command::keys_text(bool first_only) const {
    if (keys.empty()) return "";
    return (hold ? "hold " : "") + (first_only ? to_text(keys.front()) : to_text(keys));
}

/// A modifier by itself is no key of what is pressed.
std::vector<KeyBinding> CommandTable::keys_from(const Command& command, std::string_view text) {
    std::vector<KeyBinding> keys = parse_bindings(text);
    if (!command.hold) std::erase_if(keys, is_modifier_alone);
    return keys;
}

void CommandTable::add(Command command) {
    GS_CHECK(find(command.id) == nullptr, "two commands have the same id");
    command.keys = parse_bindings(command.default_keys);
    if (const auto changed = m_read.find(command.id); changed != m_read.end() && changed->is_string())
        command.keys = keys_from(command, changed->get_ref<const std::string&>());
    m_commands.push_back(std::move(command));
}

void CommandTable::remove(std::string_view prefix) {
    std::erase_if(m_commands, [&](const Command& c) { return std::string_view(c.id).starts_with(prefix); });
}

const Command* CommandTable::find(std::string_view id) const {
    for (const Command& command : m_commands)
        if (command.id == id) return &command;
    return nullptr;
}
Command* CommandTable::change(std::string_view id) { return const_cast<Command*>(find(id)); }

std::string CommandTable::keys_of(std::string_view id) const {
    const Command* command = find(id);
    return command ? to_text(command->keys) : "";
}

const Command* CommandTable::conflict(std::string_view id, const KeyBinding& key) const {
    if (key == KeyBinding{}) return nullptr;
    for (const Command& command : m_commands)
        if (command.id != id && std::find(command.keys.begin(), command.keys.end(), key) != command.keys.end()) return &command;
    return nullptr;
}

void CommandTable::take_away(const KeyBinding& key, std::string_view except) {
    for (Command& command : m_commands)
        if (command.id != except && std::erase(command.keys, key) > 0) m_read[command.id] = to_text(command.keys);
}

void CommandTable::bind(std::string_view id, const KeyBinding& key) {
    Command* command = change(id);
    if (!command) return;
    command->keys.clear();
    if (key != KeyBinding{}) {
        take_away(key, id);
        command->keys.push_back(key);
    }
    m_read[command->id] = to_text(command->keys);
}

void CommandTable::reset_keys(std::string_view id) {
    Command* command = change(id);
    if (!command) return;
    command->keys = parse_bindings(command->default_keys);
    for (const KeyBinding& key : command->keys) take_away(key, id);
    m_read.erase(command->id);
}

void CommandTable::reset_all_keys() {
    m_read = nlohmann::json::object();
    for (Command& command : m_commands) command.keys = parse_bindings(command.default_keys);
}

bool CommandTable::is_default(const Command& command) const { return command.keys == parse_bindings(command.default_keys); }

nlohmann::json CommandTable::changed_keys() const {
    nlohmann::json changed = m_read;
    for (const Command& command : m_commands)
        if (is_default(command)) changed.erase(command.id);
    return changed;
}

void CommandTable::read_keys(const nlohmann::json& keys) {
    if (!keys.is_object()) return;
    for (const auto& [id, text] : keys.items()) {
        if (!text.is_string()) continue;
        Command* command = change(id);
        const auto bindings = command ? keys_from(*command, text.get_ref<const std::string&>()) : parse_bindings(text.get_ref<const std::string&>());
        if (bindings.empty() && !text.get_ref<const std::string&>().empty()) continue;   // of a later version, or mistyped: the default stays
        m_read[id] = text;
        if (command) command->keys = bindings;
    }
}

const Command* CommandTable::pressed(const ViewContext& context) const {
    for (const Command& command : m_commands)
        for (const KeyBinding& key : command.keys)
            if (!command.hold && is_pressed(key, command.repeats) && command.is_enabled(context)) return &command;
    return nullptr;
}

double CommandTable::run_held(bool listens) {
    double wait_seconds = 0;
    for (Command& command : m_commands) {
        if (!command.hold) continue;
        if (command.holding.update(command.keys, listens)) command.hold();
        wait_seconds = std::max(wait_seconds, command.holding.wait_seconds());
    }
    return wait_seconds;
}

namespace {

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }
bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

/// The first place from `at` on where `wanted` stands, if asked for only at the beginning of a word.
size_t place_of(char wanted, std::string_view text, size_t at, bool begins_word) {
    for (size_t i = at; i < text.size(); ++i)
        if (lower(text[i]) == lower(wanted) && (!begins_word || i == 0 || !is_word(text[i - 1]))) return i;
    return std::string_view::npos;
}

/// Letters side by side count most, then beginnings of words. 0 when a letter is missing; with `words` false no word is waited for.
int score_in_order(std::string_view query, std::string_view text, bool words) {
    int score = 1;
    size_t at = 0;
    bool side_by_side = false;
    for (const char wanted : query) {
        if (wanted == ' ') {
            side_by_side = false;
            continue;
        }
        const bool follows = side_by_side && at < text.size() && lower(text[at]) == lower(wanted);
        size_t found = follows ? at : words ? place_of(wanted, text, at, true) : std::string_view::npos;
        if (found != std::string_view::npos)
            score += follows ? 8 : found == 0 ? 12 : 10;
        else if ((found = place_of(wanted, text, at, false)) != std::string_view::npos)
            score += 1;
        else
            return 0;
        at = found + 1;
        side_by_side = true;
    }
    return score;
}

}  // namespace

int fuzzy_score(std::string_view query, std::string_view text) {
    const int score = std::max(score_in_order(query, text, true), score_in_order(query, text, false));
    return score == 0 ? 0 : score * 64 - static_cast<int>(std::min<size_t>(text.size(), 63));   // of equals, the shorter one
}

}  // namespace app
