// Runs the real program as a user would and keeps what it printed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

struct ProgramResult {
    int exit_code = -1;                 ///< 128 + signal when it was killed
    std::string out, err;
    nlohmann::json json() const { return nlohmann::json::parse(out); }
};

/// gatescope ARGUMENTS, without a display and with an empty home. environment: extra NAME=VALUE entries; most_memory: address space in
/// bytes, 0 for no limit.
ProgramResult run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {}, uint64_t most_memory = 0);

/// A file in a folder that lives as long as the test program.
std::string temporary_file(const std::string& name, const std::string& content);
std::string temporary_path(const std::string& name);
