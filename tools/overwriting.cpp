#include "tools/overwriting.h"

#include <fmt/core.h>

#include <filesystem>

#include "base/error.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code none;
  return fs::equivalent(a, b, none) && !none;
}

// Clips are files, folders of images, and folders of such folders.
bool holds(const fs::path& folder, const fs::path& file, int depth) {
  std::error_code none;
  for (fs::directory_iterator entry(folder, none), end; !none && entry != end;
       entry.increment(none)) {
    if (is_same(entry->path(), file)) return true;
    std::error_code unknown;
    if (depth > 1 && entry->is_directory(unknown) && holds(entry->path(), file, depth - 1))
      return true;
  }
  return false;
}

}  // namespace

void require_not_read(const std::string& output, const std::vector<std::string>& inputs) {
  constexpr int depth = 3;  // clips/walk/src/0001.png
  std::error_code none;
  if (!fs::exists(output, none)) return;
  for (const std::string& input : inputs)
    if (is_same(output, input) || (fs::is_directory(input, none) && holds(input, output, depth)))
      throw Error(
          fmt::format("{}: is read by the same command ({}); name another output", output, input));
}

}  // namespace mattec::tools
