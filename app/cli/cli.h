// The command line: one file a subcommand, one row each in cli.cpp. Results go to stdout, progress and messages to stderr.
// Exit codes: 0 ok, 1 the run failed or was cancelled, 2 wrong usage, 3 bad input file, 4 device.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

namespace app {

/// The whole program: parses, runs a subcommand or opens the window, returns the exit code. Never throws.
int run_command_line(int argc, char** argv);

/// What a subcommand does once its options are parsed; returns the exit code.
using CommandBody = std::function<int()>;

/// Adds one subcommand to `root` and stores its body in `chosen` when the user names it.
using AddCommand = void (*)(CLI::App& root, CommandBody& chosen);

void add_run_command(CLI::App& root, CommandBody& chosen);
void add_trace_command(CLI::App& root, CommandBody& chosen);
void add_gates_command(CLI::App& root, CommandBody& chosen);
void add_compare_command(CLI::App& root, CommandBody& chosen);
void add_sweep_command(CLI::App& root, CommandBody& chosen);
void add_export_command(CLI::App& root, CommandBody& chosen);
void add_info_command(CLI::App& root, CommandBody& chosen);
void add_verify_command(CLI::App& root, CommandBody& chosen);
void add_screenshot_command(CLI::App& root, CommandBody& chosen);
void add_bench_command(CLI::App& root, CommandBody& chosen);
void add_selftest_command(CLI::App& root, CommandBody& chosen);
void add_precision_command(CLI::App& root, CommandBody& chosen);
void add_sensitivity_command(CLI::App& root, CommandBody& chosen);
void add_schedule_command(CLI::App& root, CommandBody& chosen);
void add_choices_command(CLI::App& root, CommandBody& chosen);
void add_ablate_command(CLI::App& root, CommandBody& chosen);
void add_cost_command(CLI::App& root, CommandBody& chosen);
void add_fetch_dense_command(CLI::App& root, CommandBody& chosen);
void add_side_by_side_command(CLI::App& root, CommandBody& chosen);
void add_experts_command(CLI::App& root, CommandBody& chosen);
void add_specialize_command(CLI::App& root, CommandBody& chosen);
void add_coactivation_command(CLI::App& root, CommandBody& chosen);

}  // namespace app
