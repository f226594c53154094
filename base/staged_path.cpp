#include "base/staged_path.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include "base/error.h"

namespace mattec {
namespace fs = std::filesystem;
namespace {

// What is staged now. Held while something is put in place, so that whoever ends the process sees
// it either staged or in place.
std::mutex staged_mutex;
std::set<std::string>& staged_paths() {
  static std::set<std::string> paths;
  return paths;
}

std::string reason(int code) {
  std::string text = std::strerror(code);
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) text += "; free some space";
  if (code == EACCES || code == EROFS || code == EPERM) text += "; check the permissions";
  return text;
}

// Behind a symbolic link, so that a rename leaves the link.
fs::path target_of(const std::string& final_path) {
  fs::path path = fs::path(final_path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  std::error_code ignored;
  if (fs::is_symlink(fs::symlink_status(path, ignored))) {
    const fs::path resolved = fs::weakly_canonical(path, ignored);
    if (!ignored) path = resolved;
  }
  return path;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// ".rvm.partial": what the hidden names of a final path begin with, before a number and the
// extension.
std::string hidden_prefix(const fs::path& final_path) {
  return "." + final_path.stem().string() + ".partial";
}

bool is_hidden_name(const std::string& name, const fs::path& final_path) {
  const std::string prefix = hidden_prefix(final_path), end = final_path.extension().string();
  if (name.size() <= prefix.size() + end.size() || name.compare(0, prefix.size(), prefix) != 0 ||
      name.compare(name.size() - end.size(), end.size(), end) != 0)
    return false;
  return std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()),
                     name.end() - static_cast<std::ptrdiff_t>(end.size()),
                     [](char c) { return (c >= '0' && c <= '9') || c == '-'; });
}

int open_entry(const fs::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

// True where the entry's writer is gone: its lock is free. File systems without locks say no.
bool is_abandoned(const fs::path& path) {
  const int entry = open_entry(path);
  if (entry < 0) return false;
  const bool is_free = ::flock(entry, LOCK_EX | LOCK_NB) == 0;
  ::close(entry);
  return is_free;
}

// Of a rename: until then a crash may undo it.
void flush_folder(const fs::path& folder) {
  const int entry = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (entry < 0) return;
  ::fsync(entry);
  ::close(entry);
}

}  // namespace

StagedPath::StagedPath(const std::string& final_path, Kind kind) : given_(final_path) {
  const fs::path target = target_of(final_path);
  final_ = target.string();
  std::error_code error;
  const fs::file_status status = fs::status(target, error);
  if (fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status))
    throw Error(given_ + ": is neither a file nor a folder; name another path");
  if (!fs::is_directory(folder_of(target), error))
    throw Error(given_ + ": the folder " + folder_of(target).string() +
                " does not exist; create it first");
  remove_left_over();
  make(kind);
}

void StagedPath::make(Kind kind) {
  static std::atomic<unsigned> count{0};
  const fs::path target = final_;
  for (;;) {
    staged_ = (folder_of(target) / (hidden_prefix(target) + std::to_string(::getpid()) + "-" +
                                    std::to_string(count++) + target.extension().string()))
                  .string();
    const std::lock_guard<std::mutex> lock(staged_mutex);
    if (kind == Kind::folder) {
      if (::mkdir(staged_.c_str(), 0777) == 0) lock_ = open_entry(staged_);
    } else {
      lock_ = ::open(staged_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (lock_ < 0 && errno == EEXIST) continue;
    if (lock_ < 0) throw Error(given_ + ": cannot be written: " + reason(errno));
    ::flock(lock_, LOCK_EX | LOCK_NB);
    // Between the two calls another process may have taken it for left over.
    struct stat held = {}, named = {};
    if (::fstat(lock_, &held) == 0 && ::lstat(staged_.c_str(), &named) == 0 &&
        held.st_ino == named.st_ino) {
      staged_paths().insert(staged_);
      return;
    }
    ::close(lock_);
    lock_ = -1;
  }
}

void StagedPath::remove_left_over() const {
  const fs::path target = final_;
  std::error_code error;
  for (fs::directory_iterator entry(folder_of(target), error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (is_hidden_name(entry->path().filename().string(), target) && is_abandoned(entry->path()))
      fs::remove_all(entry->path(), ignored);
  }
}

StagedPath::~StagedPath() {
  const std::lock_guard<std::mutex> lock(staged_mutex);
  std::error_code ignored;
  if (!committed_) fs::remove_all(staged_, ignored);
  staged_paths().erase(staged_);
  if (lock_ >= 0) ::close(lock_);
}

void StagedPath::with_final_name(const std::function<void()>& work) const {
  try {
    work();
  } catch (const Error& error) {
    std::string text = error.what();
    const size_t at = text.find(staged_);
    if (at == std::string::npos) throw;
    throw Error(text.replace(at, staged_.size(), given_));
  }
}

// A folder's files by one call for the whole file system: thousands of pictures one by one take
// minutes.
void StagedPath::flush() const {
  std::error_code ignored;
  const bool is_folder = fs::is_directory(staged_, ignored);
  if ((is_folder ? ::syncfs(lock_) : ::fsync(lock_)) != 0 && errno != EINVAL)
    throw Error(given_ + ": cannot be written: " + reason(errno) + "; nothing was kept");
}

void StagedPath::place(const std::function<void()>& rename) {
  flush();
  {
    const std::lock_guard<std::mutex> lock(staged_mutex);
    rename();
    committed_ = true;
    staged_paths().erase(staged_);
  }
  flush_folder(folder_of(final_));
}

void StagedPath::commit() {
  place([this] {
    if (::rename(staged_.c_str(), final_.c_str()) != 0)
      throw Error(given_ + ": cannot be put in place: " + reason(errno) + "; nothing was kept");
  });
}

void StagedPath::replace_folder() {
  std::error_code ignored;
  if (!fs::exists(final_, ignored)) return commit();
  place([this] {
    // Exchanged in one step; the old content then has the hidden name.
    if (::renameat2(AT_FDCWD, staged_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE) == 0)
      return;
    // A file system without exchange: away, in place, and back where that fails.
    const std::string away = staged_ + ".old";
    bool placed = ::rename(final_.c_str(), away.c_str()) == 0;
    if (placed && ::rename(staged_.c_str(), final_.c_str()) != 0) {
      placed = false;
      ::rename(away.c_str(), final_.c_str());
    }
    if (!placed)
      throw Error(given_ + ": cannot be put in place: " + reason(errno) + "; nothing was kept");
    ::rename(away.c_str(), staged_.c_str());
  });
  fs::remove_all(staged_, ignored);
}

void remove_staged_paths() {
  staged_mutex.lock();  // for good: nothing is put in place after this
  std::error_code ignored;
  // Whoever writes into a folder may do so between the removal of its files and its own.
  for (const std::string& path : staged_paths())
    for (int attempt = 0; attempt < 100 && fs::exists(path, ignored); ++attempt)
      fs::remove_all(path, ignored);
}

void write_file(const std::string& path, const void* data, size_t size,
                const std::string& name_for_user) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  bool good = file != nullptr;
  good = good && std::fwrite(data, 1, size, file) == size;
  good = good && std::fflush(file) == 0;
  const int code = errno;
  if (file != nullptr) good = (std::fclose(file) == 0) && good;
  if (good) return;
  if (file != nullptr) ::unlink(path.c_str());
  throw Error(name_for_user + ": cannot be written: " + reason(code != 0 ? code : EIO) +
              "; nothing was kept");
}

void write_file_atomically(const std::string& path, const void* data, size_t size) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw Error(path + ": is a folder; name a file");
  StagedPath staged(path, StagedPath::Kind::file);
  write_file(staged.path(), data, size, path);
  staged.commit();
}

void require_disk_space(const std::string& path, const std::string& name_for_user) {
  constexpr uintmax_t least_bytes = uintmax_t{256} * 1024;
  std::error_code error;
  const fs::space_info space = fs::space(fs::path(path).parent_path(), error);
  if (!error && space.available < least_bytes)
    throw Error(name_for_user + ": cannot be written: " + reason(ENOSPC) + "; nothing was kept");
}

}  // namespace mattec
