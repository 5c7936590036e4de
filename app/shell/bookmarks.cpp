#include "app/shell/bookmarks.h"

#include <fmt/format.h>

#include <system_error>

#include "app/shell/file_io.h"

namespace fs = std::filesystem;

namespace app {
namespace {

using Json = nlohmann::json;
constexpr int kMaxIndex = 1 << 24;

int index_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_integer()) return -1;
    const int64_t value = found->get<int64_t>();
    return value >= 0 && value <= kMaxIndex ? static_cast<int>(value) : -1;
}

std::string text_of(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

std::string identity_of(const gs::TraceSnapshot& trace) {
    if (trace.empty()) return "";
    uint64_t hash = 14695981039346656037ull;  // FNV-1a
    const auto add = [&](uint64_t value) {
        for (int i = 0; i < 8; ++i) hash = (hash ^ (value >> (8 * i) & 255)) * 1099511628211ull;
    };
    for (const char c : trace.info().model_hash + trace.info().model_name) add(static_cast<unsigned char>(c));
    for (int t = 0; t < trace.n_tokens() && trace.token(t).phase == gs::Phase::kPrefill; ++t) add(static_cast<uint64_t>(trace.token(t).id));
    return fmt::format("{:016x}", hash);
}

Bookmarks::Bookmarks(fs::path file) : m_file(std::move(file)) {
    std::error_code ignored;
    if (m_file.empty() || !fs::exists(m_file, ignored)) return;
    const auto text = read_file(m_file);
    Json json = text ? Json::parse(*text, nullptr, false) : Json();
    if (json.is_object()) {
        m_all = std::move(json);
        return;
    }
    fs::path aside = m_file;
    aside += ".broken";
    fs::rename(m_file, aside, ignored);
    m_problem = gs::Error{gs::ErrorKind::kInput, "settings_broken", "Bookmarks could not be read", text ? "the file is not JSON" : text.error().why,
                          "They are kept as " + aside.string()};
}

std::optional<Bookmark> Bookmarks::at(int slot) const {
    const auto trace = m_all.find(m_identity);
    if (m_identity.empty() || trace == m_all.end() || !trace->is_object()) return std::nullopt;
    const auto mark = trace->find(std::to_string(slot));
    if (mark == trace->end() || !mark->is_object()) return std::nullopt;
    return Bookmark{text_of(*mark, "name"), {index_of(*mark, "token"), index_of(*mark, "layer"), index_of(*mark, "expert")}, text_of(*mark, "view"), text_of(*mark, "zoom")};
}

gs::Result<void> Bookmarks::set(int slot, const std::optional<Bookmark>& bookmark) {
    if (m_identity.empty()) return {};
    Json& trace = m_all[m_identity];
    if (!trace.is_object()) trace = Json::object();
    if (bookmark) {
        trace[std::to_string(slot)] = {{"name", bookmark->name}, {"token", bookmark->pick.token}, {"layer", bookmark->pick.moe_layer},
                                       {"expert", bookmark->pick.expert}, {"view", bookmark->view}, {"zoom", bookmark->zoom}};
    } else {
        trace.erase(std::to_string(slot));
        if (trace.empty()) m_all.erase(m_identity);
    }
    if (m_file.empty()) return {};
    return write_file_atomically(m_file, m_all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace app
