#include <fmt/format.h>

#include "app/views/overlays.h"
#include "app/widgets/token_text.h"
#include "app/widgets/ui_kit.h"

namespace app {

std::string refusal(const gs::ModelEstimate& estimate) {
    if (estimate.memory_available == 0 || estimate.total() <= estimate.memory_available) return {};
    return fmt::format("It needs {} of memory and this machine has {} available.", format_bytes(static_cast<double>(estimate.total())),
                       format_bytes(static_cast<double>(estimate.memory_available)));
}

namespace {

void memory_bar(const gs::ModelEstimate& e, const Theme& theme) {
    const double whole = static_cast<double>(std::max(e.total(), e.memory_available));
    const ImVec2 at = ImGui::GetCursorScreenPos(), size = {ImGui::GetContentRegionAvail().x, ImGui::GetFontSize() * 0.9f};
    ImDrawList* draw = ImGui::GetWindowDrawList();
    draw->AddRectFilled(at, {at.x + size.x, at.y + size.y}, theme.track);
    float x = at.x;
    const uint64_t parts[] = {e.weight_bytes, e.kv_bytes, e.work_bytes};
    for (int i = 0; i < 3; ++i) {
        const float width = whole > 0 ? static_cast<float>(static_cast<double>(parts[i]) / whole) * size.x : 0;
        draw->AddRectFilled({x, at.y}, {x + width, at.y + size.y}, pinned_color(i));
        x += width;
    }
    if (e.memory_available > 0 && e.total() > e.memory_available) {
        const float limit = at.x + static_cast<float>(static_cast<double>(e.memory_available) / whole) * size.x;
        draw->AddLine({limit, at.y - 2}, {limit, at.y + size.y + 2}, theme.error, 2);
    }
    ImGui::Dummy(size);
}

void part_row(int color, const char* name, uint64_t bytes, const char* note) {
    const float unit = ImGui::GetFontSize();
    const ImVec2 at = ImGui::GetCursorScreenPos();
    ImGui::GetWindowDrawList()->AddRectFilled({at.x, at.y + unit * 0.25f}, {at.x + unit * 0.6f, at.y + unit * 0.85f}, pinned_color(color));
    ImGui::SetCursorPosX(ImGui::GetCursorPosX() + unit);
    key_value(name, format_bytes(static_cast<double>(bytes)), note);
}

void describe(const std::filesystem::path& path, const gs::ModelEstimate& e, const Theme& theme) {
    ImGui::TextUnformatted(visible_name(e.spec.name.empty() ? path.filename().string() : e.spec.name).c_str());
    dim_text(fit_text(visible_name(path.string()), ImGui::GetContentRegionAvail().x));
    ImGui::Spacing();
    key_value("family", e.spec.family);
    key_value("parameters", fmt::format("{}, {} active per token", format_count(e.total_params), format_count(e.active_params)));
    if (e.spec.is_moe())
        key_value("experts", fmt::format("{} per layer, {} used, {} of {} layers", e.spec.router.n_experts, e.spec.router.n_used,
                                         e.spec.moe_layers.size(), e.spec.n_layers));
    else
        key_value("experts", "none: a dense model has no routing to show");
    heading("Memory");
    part_row(0, "weights", e.weight_bytes, "Used in place from the file: pages come into memory as they are read");
    part_row(1, "context", e.kv_bytes, "Keys and values of the whole context");
    part_row(2, "working", e.work_bytes, "Activations of one batch");
    key_value("total", format_bytes(static_cast<double>(e.total())));
    key_value("available", e.memory_available ? format_bytes(static_cast<double>(e.memory_available)) : "unknown");
    memory_bar(e, theme);
}

}  // namespace

void LoadDialog::draw(ViewContext& context) {
    const auto& estimate = context.state.estimate;
    if (estimate && !m_open) ImGui::OpenPopup("###load_model");
    m_open = estimate.has_value();
    ImGui::SetNextWindowPos(ImGui::GetMainViewport()->GetCenter(), ImGuiCond_Always, {0.5f, 0.5f});
    ImGui::SetNextWindowSize({std::min(ImGui::GetFontSize() * 32, ImGui::GetMainViewport()->WorkSize.x * 0.95f), 0});
    if (!ImGui::BeginPopupModal("Load this model?###load_model", nullptr, ImGuiWindowFlags_NoSavedSettings | ImGuiWindowFlags_NoMove))
        return;
    if (!estimate) {
        ImGui::CloseCurrentPopup();
        ImGui::EndPopup();
        return;
    }
    describe(estimate->first, estimate->second, context.theme);
    const std::string why_not = refusal(estimate->second);
    ImGui::Spacing();
    if (why_not.empty())
        dim_text("Runs on this machine's CPU. What is on screen stays until it is loaded.");
    else {
        ImGui::PushStyleColor(ImGuiCol_Text, context.theme.error);
        ImGui::TextWrapped("%s", (why_not + " Close other programs, or choose a smaller or more quantized file.").c_str());
        ImGui::PopStyleColor();
    }
    ImGui::Spacing();
    ImGui::BeginDisabled(!why_not.empty());
    if (ImGui::Button("Load###load")) {
        context.session.load_model(estimate->first);
        context.session.dismiss_estimate();
    }
    ImGui::EndDisabled();
    ImGui::SameLine();
    if (ImGui::Button("Cancel###cancel") || ImGui::IsKeyPressed(ImGuiKey_Escape, false)) context.session.dismiss_estimate();
    ImGui::EndPopup();
}

}  // namespace app
