// Places in a run to come back to: nine slots for each prompt of a model, kept in a file beside the settings. A run of the same prompt on the
// same model has them too, under whatever policy, so that two policies can be looked at in one place.
#pragma once

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "app/views/view.h"

namespace app {

struct Bookmark {
    std::string name;                            ///< "token 12 llama · layer 8"
    Pick pick;
    std::string view, zoom;                      ///< panel in front, where its heatmap looked
    bool operator==(const Bookmark&) const = default;
};

/// Model and prompt tokens, in hex; "" for an empty trace.
std::string identity_of(const gs::TraceSnapshot& trace);

class Bookmarks {
public:
    static constexpr int kSlots = 9;
    /// Nothing is read or kept with an empty path.
    explicit Bookmarks(std::filesystem::path file = {});
    /// The trace that is shown from now on; cheap when it is the same.
    void show(const std::string& identity) { m_identity = identity; }
    /// slot 1..9
    std::optional<Bookmark> at(int slot) const;
    /// Errors: kRun "cannot_write"; the bookmark is there all the same until the window is closed.
    gs::Result<void> set(int slot, const std::optional<Bookmark>& bookmark);
    const std::optional<gs::Error>& problem() const { return m_problem; }    ///< of the file when it was read

private:
    std::filesystem::path m_file;
    std::string m_identity;
    nlohmann::json m_all = nlohmann::json::object();   ///< identity → slot → bookmark; what is not understood stays
    std::optional<gs::Error> m_problem;
};

}  // namespace app
