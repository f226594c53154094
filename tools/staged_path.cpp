#include "tools/staged_path.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "ir/error.h"

namespace mattec::tools {
namespace fs = std::filesystem;

StagedPath::StagedPath(const std::string& final_path) {
  fs::path path = fs::path(final_path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw Error(fmt::format("{}: the folder {} does not exist; create it first", final_path,
                            folder.string()));
  final_ = path.string();
  staged_ = (folder / fmt::format(".{}.partial{}{}", path.stem().string(), getpid(),
                                  path.extension().string()))
                .string();
}

StagedPath::~StagedPath() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staged_, ignored);
}

void StagedPath::with_final_name(const std::function<void()>& work) const {
  try {
    work();
  } catch (const Error& error) {
    std::string text = error.what();
    const size_t at = text.find(staged_);
    if (at == std::string::npos) throw;
    throw Error(text.replace(at, staged_.size(), final_));
  }
}

void StagedPath::commit() {
  std::error_code error;
  fs::rename(staged_, final_, error);
  if (error)
    throw Error(fmt::format("{}: cannot be put in place: {}; nothing was written", final_,
                            error.message()));
  committed_ = true;
}

void write_file(const std::string& path, const void* data, size_t size,
                const std::string& name_for_user) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool good = file != nullptr;
  good = good && std::fwrite(data, 1, size, file) == size;
  good = good && std::fflush(file) == 0;
  const int reason = errno;
  if (file != nullptr) good = (std::fclose(file) == 0) && good;
  if (!good)
    throw Error(fmt::format("{}: cannot be written: {}; nothing was kept", name_for_user,
                            std::strerror(reason != 0 ? reason : EIO)));
}

void require_disk_space(const std::string& path, const std::string& name_for_user) {
  constexpr uintmax_t least_bytes = uintmax_t{256} * 1024;
  std::error_code error;
  const fs::space_info space = fs::space(fs::path(path).parent_path(), error);
  if (!error && space.available < least_bytes)
    throw Error(fmt::format("{}: cannot be written: {}; nothing was kept", name_for_user,
                            std::strerror(ENOSPC)));
}

}  // namespace mattec::tools
