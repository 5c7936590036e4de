// Where tests find their inputs and put their files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gs::test {

/// tests/goldens/…
std::filesystem::path golden(std::string_view relative);
/// The source tree.
std::filesystem::path source(std::string_view relative = "");

/// A fresh folder, removed with everything in it at the end of the scope.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::filesystem::path& path() const { return m_path; }
    std::filesystem::path operator/(std::string_view name) const { return m_path / name; }

private:
    std::filesystem::path m_path;
};

std::string read_bytes(const std::filesystem::path& path);
void write_bytes(const std::filesystem::path& path, std::string_view bytes);
/// Names of what a folder holds, sorted.
std::vector<std::string> names_in(const std::filesystem::path& dir);

}  // namespace gs::test
