#include "app/report/report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "app/report/report_pictures.h"
#include "engine/io/atomic_write.h"
#include "engine/io/export_trace.h"
#include "engine/io/import_trace.h"
#include "engine/routing/metrics.h"

namespace app {
namespace {

std::string escape(std::string_view text) {
    std::string out;
    for (const char c : gs::printable_utf8(text)) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            default: out += c; break;
        }
    }
    return out;
}

std::string css_color(uint32_t color) {
    return fmt::format("#{:02x}{:02x}{:02x}", channel_of(color, 0), channel_of(color, 1), channel_of(color, 2));
}

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child,.facts td{text-align:left}
.facts td:first-child{color:GrayText}
.text{font-family:ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9}
.text span{padding:.1rem .05rem;border-radius:.2rem;color:#000}
.text .special{outline:1px dotted}
.key span{padding:.1rem .5rem;margin-right:.4rem;border-radius:.2rem;color:#000;white-space:nowrap}
.map{width:100%;image-rendering:pixelated;display:block;min-height:6rem;max-height:26rem;object-fit:fill}
.bar{width:12rem;height:.9rem;vertical-align:middle}
.note{color:GrayText}
</style>
)";

class Report {
public:
    Report(const gs::TraceSnapshot& trace, int moe_layer) : m_trace(trace), m_info(trace.info()) {
        const int n = trace.n_moe_layers();
        m_layer = moe_layer >= 0 && moe_layer < n ? moe_layer : n / 2;
    }

    std::string html() {
        const std::string title = fmt::format("Routing of {}", m_info.model_name.empty() ? "a run" : m_info.model_name);
        m_out = kHead;
        m_out += fmt::format("<title>{0}</title></head><body>\n<h1>{0}</h1>\n", escape(title));
        facts();
        if (m_trace.n_moe_layers() > 0 && !m_trace.empty()) {
            text();
            balance();
            load_map();
            token_map();
            if (m_trace.has_logits()) entropy_map();
        } else {
            m_out += "<p>The run has no routed layers.</p>\n";
        }
        m_out += fmt::format("<p class=\"note\">Made by Gatescope. Every figure is {}; uniform: what a router without any preference would show.</p>\n</body></html>\n",
                             gs::name_of(m_info.provenance));
        return std::move(m_out);
    }

private:
    void fact(const char* name, const std::string& value) {
        if (!value.empty()) m_out += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", name, escape(value));
    }

    void facts() {
        m_out += "<table class=\"facts\">\n";
        fact("model", m_info.model_name);
        fact("file", m_info.model_file);
        fact("hash", m_info.model_hash);
        fact("family", m_info.family);
        fact("engine", m_info.precision.empty() ? m_info.engine : m_info.engine + ", " + m_info.precision);
        fact("provenance", gs::name_of(m_info.provenance));
        if (!m_trace.empty()) fact("policy", policies());
        fact("router", fmt::format("{} of {} experts a token, {} MoE layers of {}", m_info.router.n_used, m_trace.n_experts(), m_trace.n_moe_layers(), m_info.n_layers));
        fact("sampler", m_info.sampler);
        fact("prompt", m_info.prompt);
        fact("tokens", std::to_string(m_trace.n_tokens()));
        fact("imported from", m_info.source);
        fact("not known", gs::lacks_text(m_info.lacks));
        for (const std::string& note : m_info.notes) fact("note", note);
        m_out += "</table>\n";
    }

    std::string policies() const {
        std::string all;
        for (int t = 0; t < m_trace.n_tokens(); ++t) {
            if (t > 0 && m_trace.token(t).policy == m_trace.token(t - 1).policy) continue;
            all += fmt::format("{}{} from token {}", all.empty() ? "" : "; ", m_trace.policy(t).to_text(), t + 1);
        }
        return all;
    }

    /// Experts by how often they are first at the layer: the eight most frequent have a hue (ux.md R25).
    std::vector<int> hues() const {
        std::vector<int> counts(static_cast<size_t>(m_trace.n_experts()), 0), order, hue(counts.size(), -1);
        for (int t = 0; t < m_trace.n_tokens(); ++t) ++counts[m_trace.ids(m_layer, t).front()];
        for (int e = 0; e < m_trace.n_experts(); ++e) order.push_back(e);
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return counts[static_cast<size_t>(a)] > counts[static_cast<size_t>(b)]; });
        for (int i = 0; i < std::min<int>(8, m_trace.n_experts()) && counts[static_cast<size_t>(order[static_cast<size_t>(i)])] > 0; ++i) hue[static_cast<size_t>(order[static_cast<size_t>(i)])] = i;
        return hue;
    }

    int layer() const { return m_info.moe_layers[static_cast<size_t>(m_layer)]; }

    void text() {
        if (m_info.lacks.text) return;
        const std::vector<int> hue = hues();
        m_out += fmt::format("<h2>Text, coloured by the first expert of layer {}</h2>\n<p class=\"key\">", layer());
        for (int i = 0; i < 8; ++i) {
            const auto found = std::find(hue.begin(), hue.end(), i);
            if (found != hue.end()) m_out += fmt::format("<span style=\"background:{}\">expert {}</span>", css_color(pinned_color(i)), found - hue.begin());
        }
        m_out += fmt::format("<span style=\"background:{}\">others</span></p>\n<div class=\"text\">", css_color(no_value_color()));
        for (int t = 0; t < m_trace.n_tokens(); ++t) token(t, hue);
        m_out += "</div>\n";
    }

    void token(int t, const std::vector<int>& hue) {
        const gs::TokenRow& row = m_trace.token(t);
        const auto ids = m_trace.ids(m_layer, t);
        const auto weights = m_trace.weights(m_layer, t);
        std::string chosen;
        for (size_t slot = 0; slot < ids.size() && slot < 8; ++slot) chosen += m_trace.has_weights() ? fmt::format(" {} ({:.3f})", ids[slot], weights[slot]) : fmt::format(" {}", ids[slot]);
        const int of = hue[ids.front()];
        m_out += fmt::format("<span{} style=\"background:{}\" title=\"token {}, {}, experts{}\">{}</span>", row.special ? " class=\"special\"" : "", css_color(of < 0 ? no_value_color() : pinned_color(of)), t + 1,
                             gs::name_of(row.phase), chosen, escape(row.text));
    }

    void balance() {
        m_out += fmt::format("<h2>Load of the experts</h2>\n<p class=\"note\">All {} tokens. In brackets: uniform. Experts of different layers are never pooled.</p>\n<table>\n"
                             "<tr><th>layer</th><th>k</th><th>entropy</th><th>CV</th><th>Gini</th><th>MaxVio</th><th>idle</th><th>95 % band of a share</th></tr>\n",
                             m_trace.n_tokens());
        for (int m = 0; m < m_trace.n_moe_layers(); ++m) {
            const gs::LayerLoad load = gs::layer_load(m_trace, m, gs::PhaseFilter::kBoth);
            const gs::BalanceMetrics b = gs::balance(load.counts);
            const double k = static_cast<double>(load.n_assignments) / load.n_tokens;
            const gs::UniformNull null = gs::uniform_null(m_trace.n_experts(), k, load.n_tokens);
            m_out += fmt::format("<tr><td>{}</td><td>{:.2f}</td><td>{:.3f} ({:.3f})</td><td>{:.2f}</td><td>{:.2f}</td><td>{:.2f}</td><td>{} ({:.1f})</td><td>{:.1f} to {:.1f} %</td></tr>\n",
                                 m_info.moe_layers[static_cast<size_t>(m)], k, b.entropy, null.entropy, b.cv, b.gini, b.max_vio, b.n_idle, null.idle_share * m_trace.n_experts(), 100 * null.band_low,
                                 100 * null.band_high);
        }
        m_out += "</table>\n";
    }

    void picture(const std::string& title, const std::string& axes, const std::string& uri, float low, float high) {
        m_out += fmt::format("<h2>{}</h2>\n<p class=\"note\">{}. {:.3g} <img class=\"bar\" alt=\"colour bar\" src=\"{}\"> {:.3g}</p>\n<img class=\"map\" alt=\"{}\" src=\"{}\">\n", escape(title), escape(axes),
                             low, color_bar_uri(ColorMap::kCividis), high, escape(title), uri);
    }

    void load_map() {
        std::vector<std::vector<float>> share;
        float high = 0;
        for (int m = 0; m < m_trace.n_moe_layers(); ++m) {
            std::vector<float>& row = share.emplace_back();
            for (const uint32_t count : gs::layer_load(m_trace, m, gs::PhaseFilter::kBoth).counts) row.push_back(static_cast<float>(count) / static_cast<float>(m_trace.n_tokens()));
            high = std::max(high, *std::max_element(row.begin(), row.end()));
        }
        const auto value = [&](int expert, int m) { return share[static_cast<size_t>(m)][static_cast<size_t>(expert)]; };
        picture("Share of the tokens that used an expert", fmt::format("Across: {} experts; down: {} MoE layers", m_trace.n_experts(), m_trace.n_moe_layers()),
                picture_uri(m_trace.n_experts(), m_trace.n_moe_layers(), ColorMap::kCividis, 0, high, value), 0, high);
    }

    /// Applied weight of every token and expert at the layer; 1 for chosen where there are no weights.
    void token_map() {
        float high = 0;
        std::vector<float> values(static_cast<size_t>(m_trace.n_tokens()) * static_cast<size_t>(m_trace.n_experts()), std::nanf(""));
        for (int t = 0; t < m_trace.n_tokens(); ++t) {
            const auto ids = m_trace.ids(m_layer, t);
            for (size_t slot = 0; slot < ids.size(); ++slot) {
                const float weight = m_trace.has_weights() ? m_trace.weights(m_layer, t)[slot] : 1;
                values[static_cast<size_t>(t) * static_cast<size_t>(m_trace.n_experts()) + ids[slot]] = weight;
                high = std::max(high, weight);
            }
        }
        const auto value = [&](int t, int e) { return values[static_cast<size_t>(t) * static_cast<size_t>(m_trace.n_experts()) + static_cast<size_t>(e)]; };
        picture(m_trace.has_weights() ? fmt::format("Applied weight at layer {}", layer()) : fmt::format("Chosen experts at layer {}", layer()),
                fmt::format("Across: {} tokens; down: {} experts; grey: not chosen", m_trace.n_tokens(), m_trace.n_experts()),
                picture_uri(m_trace.n_tokens(), m_trace.n_experts(), ColorMap::kCividis, 0, high, value), 0, high);
    }

    void entropy_map() {
        std::vector<float> preference(static_cast<size_t>(m_trace.n_experts()));
        const float high = std::log(static_cast<float>(std::max(2, m_trace.n_experts())));
        const auto value = [&](int t, int m) {
            gs::preference(m_info.router, m_trace.logits(m, t), preference);
            return static_cast<float>(gs::router_entropy(preference));
        };
        picture("Entropy of the router's preference, nats", fmt::format("Across: {} tokens; down: {} MoE layers; at most ln E = {:.3g}", m_trace.n_tokens(), m_trace.n_moe_layers(), high),
                picture_uri(m_trace.n_tokens(), m_trace.n_moe_layers(), ColorMap::kCividis, 0, high, value), 0, high);
    }

    const gs::TraceSnapshot& m_trace;
    const gs::TraceInfo& m_info;
    int m_layer = 0;
    std::string m_out;
};

}  // namespace

std::string html_report(const gs::TraceSnapshot& trace, int moe_layer) { return Report(trace, moe_layer).html(); }

gs::Result<std::string> exported(const gs::TraceSnapshot& trace, std::string_view format, int moe_layer) {
    if (format == "html") return html_report(trace, moe_layer);
    if (const gs::Exporter* exporter = gs::exporter_named(format)) return exporter->write(trace);
    return gs::Error{gs::ErrorKind::kUsage, "unknown_format", fmt::format("Cannot export as {}", format), "there is no such format", fmt::format("Use one of {}", fmt::join(kExportFormats, ", "))};
}

gs::Result<void> export_run(const gs::TraceSnapshot& trace, std::string_view format, const std::filesystem::path& path) {
    GS_TRY(const std::string content, exported(trace, format));
    return gs::write_file_atomically(path, content);
}

}  // namespace app
