#include "app/base/sheets.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include <fmt/format.h>

#include "app/base/paths.h"

namespace app {
namespace {

using Json = nlohmann::ordered_json;

gs::Error bad_sheets(const std::filesystem::path& file, std::string why) {
    return {gs::ErrorKind::kInput, "bad_sheets", "The sheets of models cannot be read", fmt::format("{}: {}", file.string(), why), "Install the program again, or mend the file"};
}

/// Amounts that make sense: finite, not negative, below a million dollars or 10^15 parameters.
bool is_amount(const Json& j) { return j.is_number() && std::isfinite(j.get<double>()) && j.get<double>() >= 0 && j.get<double>() < 1e15; }

std::optional<double> amount(const Json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && is_amount(*it) ? std::optional(it->get<double>()) : std::nullopt;
}

std::string text(const Json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

/// "differs": {"says", "source"} beside a figure or price.
std::string differs(const Json& of, const Json& sources) {
    const auto it = of.find("differs");
    if (it == of.end() || !it->is_object()) return "";
    return fmt::format("{} ({})", text(*it, "says"), text(sources, text(*it, "source").c_str()));
}

std::optional<SheetFigure> figure(const Json& model, const char* key, const Json& sources) {
    const auto it = model.find(key);
    if (it == model.end() || !it->is_object()) return std::nullopt;
    const auto value = amount(*it, "value");
    if (!value) return std::nullopt;
    return SheetFigure{*value, text(sources, text(*it, "source").c_str()), differs(*it, sources)};
}

SheetPrice price(const Json& j, const Json& sources) {
    return {.where = text(j, "where"), .source = text(sources, text(j, "source").c_str()), .differs = differs(j, sources), .input = amount(j, "input"),
            .output = amount(j, "output"), .low = amount(j, "low"), .high = amount(j, "high")};
}

gs::Result<Json> read_json(const std::filesystem::path& file) {
    std::ifstream in(file);
    if (!in) return gs::Error{gs::ErrorKind::kInput, "cannot_open", "A file cannot be opened", file.string(), ""};
    std::stringstream content;
    content << in.rdbuf();
    Json json = Json::parse(content.str(), nullptr, false);
    if (json.is_discarded() || !json.is_object()) return bad_sheets(file, "it is no JSON object");
    return json;
}

void set(std::optional<double>& value, const Json& edit, const char* key, bool& edited) {
    if (const auto own = amount(edit, key); own && value && *own != *value) value = own, edited = true;
}

void apply(const Json& edits, ModelSheet& model) {
    const auto of_model = edits.find(model.id);
    if (of_model == edits.end() || !of_model->is_object()) return;
    for (SheetPrice& p : model.prices) {
        const auto edit = of_model->find(p.where);
        if (edit == of_model->end() || !edit->is_object()) continue;
        set(p.input, *edit, "input", p.edited);
        set(p.output, *edit, "output", p.edited);
        set(p.low, *edit, "low", p.edited);
        set(p.high, *edit, "high", p.edited);
    }
}

}  // namespace

std::string SheetFigure::origin() const { return "Source: " + source + (differs.empty() ? "" : "\nDiffers: " + differs); }

SheetPrice::Range SheetPrice::usd(double tokens_in, double tokens_out) const {
    if (input && output) {
        const double usd = (*input * tokens_in + *output * tokens_out) / 1e6;
        return {usd, usd};
    }
    return {low.value_or(0) * (tokens_in + tokens_out) / 1e6, high.value_or(0) * (tokens_in + tokens_out) / 1e6};
}

std::optional<double> ModelSheet::flops_per_token() const { return active_params ? std::optional(2 * active_params->value) : std::nullopt; }
std::optional<double> ModelSheet::weight_bytes(double bits) const { return total_params ? std::optional(total_params->value * bits / 8) : std::nullopt; }
std::optional<double> ModelSheet::bytes_per_token(double bits) const { return active_params ? std::optional(active_params->value * bits / 8) : std::nullopt; }

gs::Result<std::vector<ModelSheet>> read_sheets(const std::filesystem::path& file) {
    GS_TRY(const Json json, read_json(file));
    if (text(json, "format") != "gatescope-sheets") return bad_sheets(file, "it does not say that it is of the format gatescope-sheets");
    const Json sources = json.value("sources", Json::object()), models = json.value("models", Json::array());
    if (!sources.is_object() || !models.is_array()) return bad_sheets(file, "sources are an object and models an array");
    std::vector<ModelSheet> sheets;
    for (const Json& m : models) {
        if (!m.is_object() || text(m, "id").empty() || text(m, "name").empty()) return bad_sheets(file, fmt::format("model {} has no id or no name", sheets.size() + 1));
        ModelSheet sheet{.id = text(m, "id"), .name = text(m, "name"), .kind = text(m, "kind"), .note = text(m, "note"), .open_weights = m.value("open_weights", Json()) == true};
        sheet.total_params = figure(m, "total_params", sources);
        sheet.active_params = figure(m, "active_params", sources);
        sheet.experts = figure(m, "experts", sources);
        const Json prices = m.value("prices", Json::array());
        for (const Json& p : prices.is_array() ? prices : Json::array())
            if (p.is_object()) sheet.prices.push_back(price(p, sources));
        sheets.push_back(std::move(sheet));
    }
    return sheets;
}

Sheets load_sheets(const std::filesystem::path& edits) {
    Sheets sheets;
    auto bundled = read_sheets(asset_path("sheets/models.json"));
    if (!bundled) {
        sheets.problem = bundled.error().message();
        return sheets;
    }
    sheets.models = std::move(*bundled);
    std::error_code ignored;
    if (edits.empty() || !std::filesystem::exists(edits, ignored)) return sheets;
    const auto own = read_json(edits);
    if (!own) sheets.problem = fmt::format("{} is not read: the prices are the articles'", edits.string());
    else
        for (ModelSheet& model : sheets.models) apply(*own, model);
    return sheets;
}

gs::Result<void> save_price_edits(const std::vector<ModelSheet>& models, const std::filesystem::path& edits) {
    if (edits.empty()) return {};
    Json json = Json::object();
    for (const ModelSheet& model : models)
        for (const SheetPrice& p : model.prices) {
            if (!p.edited) continue;
            Json& of = json[model.id][p.where];
            for (const auto& [key, value] : {std::pair{"input", p.input}, {"output", p.output}, {"low", p.low}, {"high", p.high}})
                if (value) of[key] = *value;
        }
    const auto failed = [&](const char* what) { return gs::Error{gs::ErrorKind::kRun, "cannot_write", "The prices cannot be saved", fmt::format("{}: {}", edits.string(), what), "Check the settings folder"}; };
    std::error_code error;
    std::filesystem::create_directories(edits.parent_path(), error);
    const std::filesystem::path temporary = edits.string() + ".new";
    std::ofstream out(temporary, std::ios::trunc);
    out << json.dump(1) << "\n";
    out.close();
    if (!out) return failed("it cannot be written");
    std::filesystem::rename(temporary, edits, error);
    if (error) return failed(error.message().c_str());
    return {};
}

std::filesystem::path price_edits_path() {
    const std::filesystem::path folder = default_config_dir();
    return folder.empty() ? folder : folder / "prices.json";
}

}  // namespace app
