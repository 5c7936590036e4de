// What a token costs: the loaded model beside dense models, and the articles' price table, which the user may edit.
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "app/base/sheets.h"
#include "app/views/dense_fetch.h"
#include "app/views/figure_rows.h"
#include "app/views/policy_edit.h"
#include "app/views/route_data_ui.h"
#include "app/views/views_b.h"
#include "app/widgets/ui_kit.h"
#include "engine/run/cost.h"

namespace app {
namespace {

constexpr const char* kBits[] = {"16 bits", "8 bits", "4 bits"};
constexpr double kBitValues[] = {16, 8, 4};
constexpr const char* kDiffers = " \u2260";   // behind a figure that another source gives otherwise
constexpr ImGuiTableFlags kTable = ImGuiTableFlags_NoSavedSettings | ImGuiTableFlags_SizingStretchProp | ImGuiTableFlags_BordersInnerV;

struct Column {
    std::string name;
    const char* explanation;
    gs::TokenCost cost;
};

class CostPanel final : public View {
public:
    void draw(ViewContext& context) override;

private:
    void model(ViewContext& context);
    void machine(const ViewContext& context);
    void price_table(ViewContext& context);
    void sheet_row(const ViewContext& context, ModelSheet& sheet);
    void price_cells(ModelSheet& sheet);
    bool price_field(const char* id, std::optional<double>& value, const char* explanation);
    void save();

    int m_n_ctx = 4096, m_bits = 0;
    double m_in_millions = 1, m_out_millions = 1, m_usd_per_hour = 0;
    Sheets m_sheets;
    bool m_loaded = false;
    std::string m_problem;
};

std::string params(double n) { return format_count(static_cast<uint64_t>(std::max(n, 0.0))); }
std::string gflop(double flops) { return fmt::format("{} GFLOP", format_number(flops / 1e9)); }

void CostPanel::model(ViewContext& context) {
    const auto& card = context.state.model;
    if (!card) return caption("The figures of a model need one that is loaded; the sheets below do not.");
    const gs::CostModel m = gs::cost_model(*card);
    const double experts = gs::mean_experts(m.spec, shown_policy(context));
    label("Context");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 12);
    ImGui::SliderInt("###context", &m_n_ctx, 1, std::max(m.spec.n_ctx_train, 4096), "%d tokens", ImGuiSliderFlags_Logarithmic | ImGuiSliderFlags_AlwaysClamp);
    tooltip("The token that is counted stands at the end of so many tokens: attention and cache grow with them");
    std::vector<Column> columns = {{m.spec.is_moe() ? fmt::format("MoE, {:.3g} of {}", experts < 0 ? m.spec.router.n_used : experts, m.spec.router.n_experts) : "this model (dense)",
                                    "The loaded model with the policy that is shown", gs::token_cost(m, m_n_ctx, experts)}};
    if (m.spec.is_moe()) {
        columns.push_back({"dense, same total", "As large, but every parameter used for every token", gs::dense_of_same_total(m, m_n_ctx)});
        columns.push_back({"dense, same active", "Computes as much per token, and holds no more than that", gs::dense_of_same_active(m, m_n_ctx, experts)});
    }
    if (const auto& side = context.state.side_by_side; side && side->b.card.total_params > 0)
        columns.push_back({fit_text(side->b.card.spec.name, ImGui::GetFontSize() * 9), "The other model of the comparison", gs::token_cost(gs::cost_model(side->b.card), m_n_ctx)});
    if (!ImGui::BeginTable("###cost", static_cast<int>(columns.size()) + 1, kTable)) return;
    ImGui::TableSetupColumn("one token", 0, 1.2f);
    for (const Column& c : columns) ImGui::TableSetupColumn(c.name.c_str());
    ImGui::TableNextRow(ImGuiTableRowFlags_Headers);
    ImGui::TableNextColumn();
    ImGui::TextUnformatted("one token");
    for (const Column& c : columns) {
        ImGui::TableNextColumn();
        ImGui::TextUnformatted(fit_text(c.name, ImGui::GetContentRegionAvail().x).c_str());
        tooltip(c.explanation);
    }
    figure_row("parameters", "All weights", columns, [](const Column& c) { return params(c.cost.total_params); });
    figure_row("active", "Weights that one token uses; with the model's own k the figure of `gatescope info`", columns, [](const Column& c) { return params(c.cost.active_params); });
    figure_row("operations", "2 for every active weight (an embedding that is only looked up left out), and attention", columns, [](const Column& c) { return gflop(c.cost.flops()); });
    figure_row("  attention", "Per layer 2 · heads · (dk + dv) · tokens seen", columns, [](const Column& c) { return gflop(c.cost.flops_attention); });
    figure_row("bytes read", "By one decoded token: weights as stored, and keys and values of the context", columns, [](const Column& c) { return format_bytes(c.cost.bytes()); });
    figure_row("  cache", "Keys and values of the context", columns, [](const Column& c) { return format_bytes(c.cost.bytes_cache); });
    figure_row("memory", "All weights and the cache: an MoE must sit in memory whole", columns, [](const Column& c) { return format_bytes(c.cost.memory()); });
    ImGui::EndTable();
    caption("Computed from the model's shapes and types; nothing is measured here.");
}

/// Price of the loaded model on a rented machine, from the speed of the run on screen.
void CostPanel::machine(const ViewContext& context) {
    const double speed = is_of_model(context.state, context.run.get()) ? context.run->timings.decode_tokens_per_s() : 0;
    label("This machine at");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 7);
    if (ImGui::InputDouble("###usd_hour", &m_usd_per_hour, 0, 0, "%.2f $/h")) m_usd_per_hour = std::clamp(m_usd_per_hour, 0.0, 1e6);
    tooltip("What an hour of it costs you; with the speed of the run on screen that makes a price per million tokens");
    const double usd = gs::usd_per_million(m_usd_per_hour, speed);
    ImGui::SameLine();
    ImGui::AlignTextToFramePadding();
    if (usd > 0) ImGui::TextUnformatted(fmt::format("{} $ per million tokens written, at {} tokens/s (measured, one stream)", format_number(usd), format_number(speed)).c_str());
    else dim_text(speed > 0 ? fmt::format("{} tokens/s measured", format_number(speed)) : "no speed measured yet: run the prompt");
}

bool CostPanel::price_field(const char* id, std::optional<double>& value, const char* explanation) {
    if (!value) {
        dim_text("–");
        return false;
    }
    ImGui::SetNextItemWidth(-1);
    double edited = *value;
    if (ImGui::InputDouble(id, &edited, 0, 0, "%.2f")) value = std::clamp(edited, 0.0, 1e6);
    const bool done = ImGui::IsItemDeactivatedAfterEdit();
    tooltip(explanation);
    return done;
}

void CostPanel::save() {
    const auto saved = save_price_edits(m_sheets.models, price_edits_path());
    m_problem = saved ? "" : saved.error().message();
}

/// One price: where, input or low, output or high, what the tokens above would cost.
void CostPanel::price_cells(ModelSheet& sheet) {
    for (size_t i = 0; i < sheet.prices.size(); ++i) {
        SheetPrice& p = sheet.prices[i];
        if (i > 0) {
            ImGui::TableNextRow();
            ImGui::TableSetColumnIndex(5);
        } else {
            ImGui::TableNextColumn();
        }
        ImGui::PushID(static_cast<int>(i));
        ImGui::AlignTextToFramePadding();
        ImGui::TextUnformatted(fit_text(p.where + (p.edited ? " (yours)" : p.differs.empty() ? "" : kDiffers), ImGui::GetContentRegionAvail().x).c_str());
        tooltip(fmt::format("{}\nSource: {}{}{}", p.where, p.source, p.differs.empty() ? "" : "\nDiffers: " + p.differs, p.edited ? "\nYou changed it" : "").c_str());
        const bool apart = p.input || p.output;
        bool done = false;
        ImGui::TableNextColumn();
        done |= price_field("###low", apart ? p.input : p.low, apart ? "$ per million tokens read" : "$ per million tokens, the lower figure");
        ImGui::TableNextColumn();
        done |= price_field("###high", apart ? p.output : p.high, apart ? "$ per million tokens written" : "$ per million tokens, the higher figure");
        ImGui::TableNextColumn();
        const SheetPrice::Range usd = p.usd(m_in_millions * 1e6, m_out_millions * 1e6);
        ImGui::AlignTextToFramePadding();
        ImGui::TextUnformatted((usd.low == usd.high ? fmt::format("{:.2f} $", usd.low) : fmt::format("{:.2f}–{:.2f} $", usd.low, usd.high)).c_str());
        ImGui::PopID();
        if (done) p.edited = true, save();
    }
}

void CostPanel::sheet_row(const ViewContext& context, ModelSheet& sheet) {
    const double bits = kBitValues[m_bits];
    const auto billions = [](const std::optional<SheetFigure>& f) { return f ? fmt::format("{} B{}", format_number(f->value / 1e9), f->differs.empty() ? "" : kDiffers) : std::string("unknown"); };
    const auto note = [](const std::optional<SheetFigure>& f) { return f ? f->origin() : std::string("Not published"); };
    const std::string experts = sheet.experts ? fmt::format("\nExperts a layer: {}. {}", sheet.experts->value, sheet.experts->origin()) : "";
    const auto cell = [](const std::string& text, const std::string& explanation) {
        ImGui::TableNextColumn();
        ImGui::AlignTextToFramePadding();
        ImGui::TextUnformatted(fit_text(text, ImGui::GetContentRegionAvail().x).c_str());
        tooltip(explanation.c_str());
    };
    ImGui::PushID(sheet.id.c_str());
    ImGui::TableNextRow();
    if (!sheet.open_weights) ImGui::PushStyleColor(ImGuiCol_Text, context.theme.text_dim);
    cell(sheet.name + (sheet.open_weights ? "" : " (no weights)"), sheet.note + experts);
    cell(billions(sheet.total_params), note(sheet.total_params));
    cell(billions(sheet.active_params), note(sheet.active_params));
    const auto flops = sheet.flops_per_token(), memory = sheet.weight_bytes(bits);
    cell(flops ? gflop(*flops) : "unknown", "2 operations for every active weight; attention left out, so a lower bound");
    cell(memory ? format_bytes(*memory) : "unknown", fmt::format("All weights at {} bits; without the cache. One decoded token reads {}.", bits, sheet.bytes_per_token(bits) ? format_bytes(*sheet.bytes_per_token(bits)) : "an unknown share"));
    if (!sheet.open_weights) ImGui::PopStyleColor();
    price_cells(sheet);
    ImGui::PopID();
}

void CostPanel::price_table(ViewContext& context) {
    heading("Prices, and models as sheets");
    label("For");
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 6);
    if (ImGui::InputDouble("###in", &m_in_millions, 0, 0, "%.2f M in")) m_in_millions = std::clamp(m_in_millions, 0.0, 1e9);
    tooltip("Millions of tokens read");
    ImGui::SameLine();
    ImGui::SetNextItemWidth(ImGui::GetFontSize() * 6);
    if (ImGui::InputDouble("###out", &m_out_millions, 0, 0, "%.2f M out")) m_out_millions = std::clamp(m_out_millions, 0.0, 1e9);
    tooltip("Millions of tokens written");
    same_line_if_fits(name_combo_width(kBits));
    name_combo("###bits", kBits, m_bits, "Bits per weight that the sheets' memory is counted with");
    const bool edited = std::any_of(m_sheets.models.begin(), m_sheets.models.end(), [](const ModelSheet& m) { return std::any_of(m.prices.begin(), m.prices.end(), [](const SheetPrice& p) { return p.edited; }); });
    same_line_if_fits(button_width("Articles' prices"));
    ImGui::BeginDisabled(!edited);
    if (ImGui::Button("Articles' prices###reset")) {
        m_sheets = load_sheets({});
        save();
    }
    ImGui::EndDisabled();
    tooltip("Puts the published prices back in place of yours");
    if (ImGui::BeginTable("###sheets", 9, kTable | ImGuiTableFlags_RowBg | ImGuiTableFlags_ScrollX, {0, ImGui::GetFrameHeightWithSpacing() * 13})) {
        const float u = ImGui::GetFontSize();
        const std::pair<const char*, float> columns[] = {{"model", 13}, {"total", 5}, {"active", 5}, {"per token", 7}, {"memory", 6}, {"price at", 11}, {"in / low", 5}, {"out / high", 5}, {"cost", 7}};
        for (const auto& [name, width] : columns) ImGui::TableSetupColumn(name, ImGuiTableColumnFlags_WidthFixed, width * u);
        ImGui::TableHeadersRow();
        for (ModelSheet& sheet : m_sheets.models) sheet_row(context, sheet);
        ImGui::EndTable();
    }
    caption("Published figures, each with its source when you point at it; \u2260: another source says otherwise. Nothing here was computed on those models. Prices are dollars per million tokens and yours to edit.");
    for (const std::string& problem : {m_sheets.problem, m_problem})
        if (!problem.empty()) ImGui::TextWrapped("%s", problem.c_str());
}

void CostPanel::draw(ViewContext& context) {
    if (!m_loaded) m_sheets = load_sheets(price_edits_path());
    m_loaded = true;
    model(context);
    machine(context);
    if (context.state.model && context.state.model->spec.is_moe()) {
        if (draw_dense_fetch(context)) caption("The dense parent is downloaded: the panel \"MoE and dense\" runs both on one prompt.");
    }
    price_table(context);
}

}  // namespace

std::unique_ptr<View> make_cost_view() { return std::make_unique<CostPanel>(); }

}  // namespace app
