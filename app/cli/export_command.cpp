// gatescope export: a recorded run in formats that other programs read, or as a page.
#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "app/report/report.h"
#include "engine/io/atomic_write.h"
#include "engine/io/import_trace.h"

namespace app {

struct ExportOptions {
    std::string file, format, out;
    int layer = -1;
};

static int export_file(ExportOptions o) {
    if (o.format.empty()) {
        const std::string ending = std::filesystem::path(o.out).extension().string();
        o.format = ending.empty() ? "" : ending.substr(1);
    }
    auto trace = gs::open_trace(o.file);
    if (!trace) return fail(trace.error());
    auto content = exported(*trace, o.format, o.layer);
    if (!content) return fail(content.error());
    if (auto written = gs::write_file_atomically(o.out, *content); !written) return fail(written.error());
    fmt::print(stderr, "{}: {} tokens, {} bytes\n", o.out, trace->n_tokens(), content->size());
    return 0;
}

void add_export_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<ExportOptions>();
    CLI::App* command = root.add_subcommand("export", "A recorded run as CSV, JSON, NumPy arrays or an HTML report");
    command->footer("Examples: gatescope export llama.safetensors --out llama.html\n          gatescope export moe_trace.csv --format npz --out routes.npz");
    command->add_option("TRACE", options->file, "recorded run: a trace file, or one of another program (gatescope trace --help)")->required();
    command->add_option("--format", options->format, "html, csv, json, npz; default: the ending of --out");
    command->add_option("-o,--out", options->out, "file to write")->required();
    command->add_option("--layer", options->layer, "of a report: MoE layer that colours the text, counted from 0; default: the middle one");
    command->callback([options, &chosen] { chosen = [options] { return export_file(*options); }; });
}

}  // namespace app
