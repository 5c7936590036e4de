#include "app/cli/study_output.h"

#include <cmath>
#include <sstream>

#include <fmt/format.h>

#include "app/base/texts.h"
#include "app/cli/tune_output.h"
#include "engine/io/trace_file.h"

namespace app {

void add_study_options(CLI::App& command, StudyOptions& options) {
    add_engine_options(command, options.engine);
    command.add_option("--text", options.own, "a text of your own as NAME=FILE; texts of one NAME count as one domain; may be repeated");
    command.add_option("--domains", options.domains, fmt::format("bundled samples: all, none, or a list of {}", fmt::join(bundled_text_names(), ", ")))->capture_default_str();
    command.add_option("--max-tokens", options.max_tokens, "tokens of each text, from its beginning")->check(CLI::Range(2, 1 << 20))->capture_default_str();
    command.add_option("--shuffles", options.n_shuffles, "random draws for each null")->check(CLI::Range(20, 100000))->capture_default_str();
    command.add_option("--policy", options.policy, "routing rule under which the texts run")->capture_default_str();
    command.add_option("--save-trace", options.save, "also write the routing of all texts to a file (.safetensors)");
}

static std::vector<std::string> bundled_names(const std::string& list) {
    if (list == "all") return bundled_text_names();
    std::vector<std::string> names;
    std::istringstream in(list == "none" ? "" : list);
    for (std::string name; std::getline(in, name, ',');) names.push_back(name);
    return names;
}

gs::Result<gs::StudyRequest> study_request(const StudyOptions& options) {
    gs::StudyRequest request{.max_tokens = options.max_tokens, .n_shuffles = options.n_shuffles};
    GS_TRY(request.policy, gs::Policy::parse(options.policy));
    for (const std::string& name : bundled_names(options.domains)) {
        GS_TRY(std::string text, bundled_text(name));
        request.texts.push_back({name, std::move(text)});
    }
    for (const std::string& item : options.own) {
        const size_t equals = item.find('=');
        if (equals == std::string::npos || equals == 0)
            return gs::Error{gs::ErrorKind::kUsage, "bad_text", fmt::format("--text {}", item), "it names no domain", "Write it as NAME=FILE, for example --text law=contract.txt"};
        GS_TRY(std::string text, read_text_file(item.substr(equals + 1)));
        request.texts.push_back({item.substr(0, equals), std::move(text)});
    }
    return request;
}

gs::Result<std::shared_ptr<const gs::ExpertStudy>> run_study(gs::Decoder& decoder, const StudyOptions& options) {
    GS_TRY(const gs::StudyRequest request, study_request(options));
    const auto progress = [](const std::shared_ptr<const gs::ExpertStudy>&, double fraction, const std::string&) { show_progress("study", fraction); };
    auto study = gs::study_experts(decoder, request, progress, &interrupt_flag());
    clear_progress();
    if (study && !options.save.empty()) GS_TRY_VOID(gs::save_trace((*study)->trace, options.save));
    return study;
}

gs::Result<int> moe_row(const gs::TraceInfo& info, int layer) {
    for (size_t m = 0; m < info.moe_layers.size(); ++m)
        if (info.moe_layers[m] == layer) return static_cast<int>(m);
    return gs::Error{gs::ErrorKind::kUsage, "no_such_layer", fmt::format("There are no experts in layer {}", layer), fmt::format("layers with experts are {}", fmt::join(info.moe_layers, ", ")), ""};
}

std::string shown_token(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) {
        if (c == '\n') out += "↵";
        else if (c == '\t') out += "→";
        else out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    }
    return out;
}

std::string shown_percent(double share) { return std::isnan(share) ? "–" : fmt::format("{:.1f} %", 100 * share); }

}  // namespace app
