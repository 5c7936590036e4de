#include "app/cli/cli.h"

#include <exception>
#include <new>

#include <fmt/format.h>

#include "app/base/paths.h"
#include "app/cli/common.h"
#include "app/cli/window_command.h"
#include "engine/ops/cuda/cuda_engine.h"
#include "engine/ops/ops.h"

namespace app {

static constexpr AddCommand kCommands[] = {add_run_command,   add_trace_command,  add_gates_command,      add_compare_command, add_sweep_command,
                                           add_info_command,  add_verify_command, add_screenshot_command, add_bench_command,   add_selftest_command,
                                           add_precision_command, add_sensitivity_command, add_schedule_command, add_choices_command,
                                           add_ablate_command, add_cost_command, add_fetch_dense_command, add_side_by_side_command,
                                           add_experts_command, add_specialize_command, add_coactivation_command, add_export_command};

static const char* kFooter =
    "With no subcommand the window opens; FILE may be a model (.gguf) or a recorded run (.safetensors, or of another program).\n"
    "Examples:\n"
    "  gatescope run --prompt \"What is a llama?\" -n 64\n"
    "  gatescope run --prompt \"What is a llama?\" --policy k=1 --json\n"
    "  gatescope sweep --text page.txt\n"
    "Exit codes: 0 ok, 1 the run failed or was cancelled, 2 wrong usage, 3 bad input file, 4 device.";

static std::string version_text() {
    std::string text = fmt::format("gatescope {}\nengine: CPU ({})\n", GATESCOPE_VERSION, fmt::join(gs::cpu_instruction_sets(), ", "));
    const auto devices = gs::cuda::list_devices();
    if (!devices) return text + fmt::format("engine: CUDA, not usable here: {}; it has been tested in an emulation only, never on a GPU", devices.error().why);
    text += "engine: CUDA; it has been tested in an emulation only, never on a GPU";
    for (const gs::cuda::DeviceInfo& d : *devices)
        text += fmt::format("\n  device {}  {:<32} compute {}.{}  {:>3} processors  {:>6.1f} of {:.1f} GB free", d.index, d.name, d.major, d.minor, d.n_processors,
                            static_cast<double>(d.free_memory) / 1e9, static_cast<double>(d.memory) / 1e9);
    return text;
}

static int parse_and_run(int argc, char** argv) {
    CLI::App root{"Gatescope: see a Mixture-of-Experts model route", "gatescope"};
    root.footer(kFooter);
    root.set_version_flag("--version", version_text);   // asked for only then: it wakes the driver
    root.require_subcommand(0, 1);
    WindowArguments window;
    add_window_options(root, window);
    CommandBody chosen;
    for (AddCommand add : kCommands) add(root, chosen);
    try {
        root.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        const int code = root.exit(e);           // prints help or the message
        return code == 0 ? 0 : gs::exit_code(gs::ErrorKind::kUsage);
    }
    return chosen ? chosen() : open_window(window);
}

int run_command_line(int argc, char** argv) {
    try {
        return parse_and_run(argc, argv);
    } catch (const std::bad_alloc&) {
        return fail({gs::ErrorKind::kRun, "out_of_memory", "Out of memory", "the system refused an allocation", "Use a shorter context (-c) or a smaller model"});
    } catch (const std::exception& e) {
        return fail({gs::ErrorKind::kRun, "unexpected", "The command failed", e.what(), "This is a bug worth reporting"});
    }
}

}  // namespace app
