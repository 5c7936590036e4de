#include "app/base/texts.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "app/base/paths.h"
#include "engine/model/tokenizer_utf8.h"

namespace fs = std::filesystem;

namespace app {

std::vector<std::string> bundled_text_names() {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(asset_path("texts"), ignored))
        if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
    std::sort(names.begin(), names.end());
    return names;
}

gs::Result<std::string> bundled_text(const std::string& name) {
    const std::vector<std::string> names = bundled_text_names();
    const bool known = std::find(names.begin(), names.end(), name) != names.end();   // nothing but these: a name is no path
    std::ifstream file(known ? asset_path("texts/" + name + ".txt") : fs::path(), std::ios::binary);
    if (!known || !file)
        return gs::Error{gs::ErrorKind::kUsage, "unknown_domain", fmt::format("There is no sample text \"{}\"", name), fmt::format("there are {}", fmt::join(names, ", ")),
                         "Name one of them, or give --text FILE"};
    return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Whether the rest from `at` on is a character that wants more bytes.
static bool is_cut_off(std::string_view text, size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::string_view rest = text.substr(at + 1);
    const size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    return lead >= 0xc2 && lead <= 0xf4 && rest.size() < wanted && std::all_of(rest.begin(), rest.end(), [](char c) { return (c & 0xc0) == 0x80; });
}

/// Why it is no text; empty: it is one. A character that is cut off at the end passes: a file may be the beginning of a longer one.
static std::string why_no_text(std::string_view text) {
    if (const size_t at = text.find('\0'); at != std::string_view::npos) return fmt::format("byte {} is 0: it is binary, or UTF-16", at);
    for (size_t at = 0; at < text.size();) {
        const gs::Utf8Char c = gs::next_utf8(text, at);
        if (!c.is_valid) return is_cut_off(text, at) ? "" : fmt::format("byte {} is not UTF-8", at);
        at += c.n_bytes;
    }
    return "";
}

gs::Result<std::string> read_text_file(const fs::path& path, uintmax_t max_bytes) {
    const bool is_input = path == "-";
    const auto error = [&](const char* code, std::string why, const char* remedy) {
        return gs::Error{gs::ErrorKind::kInput, code, fmt::format("Cannot read {}", is_input ? "standard input" : path.string()), std::move(why), remedy};
    };
    std::error_code ignored;
    std::ifstream file;
    if (!is_input) {
        if (fs::is_directory(path, ignored)) return error("cannot_open", "it is a folder", "Name a file in it");
        file.open(path, std::ios::binary);
        if (!file) return error("cannot_open", fs::exists(path, ignored) ? "no permission" : "no such file", "Check the path");
    }
    std::istream& in = is_input ? std::cin : file;
    std::string text;
    std::vector<char> part(1 << 16);             // in parts: a pipe has no size to ask for
    while (in && text.size() <= max_bytes) {
        in.read(part.data(), static_cast<std::streamsize>(part.size()));
        text.append(part.data(), static_cast<size_t>(in.gcount()));
    }
    if (in.bad()) return error("cannot_open", "it could not be read to its end", "Check the path");
    if (text.size() > max_bytes) return error("too_large", fmt::format("it has more than {} MB", max_bytes >> 20), "Cut it");
    if (text.empty()) return error("empty_text", "it is empty", "Give a text of at least a few words");
    if (std::string why = why_no_text(text); !why.empty()) return error("not_text", std::move(why), "Choose a plain text file in UTF-8");
    return text;
}

}  // namespace app
