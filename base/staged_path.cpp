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

// What the path leads to, be it there or not: a rename would replace a symbolic link itself.
fs::path target_of(const std::string& final_path) {
  constexpr int most_links = 40;  // as the system has it
  std::error_code error;
  fs::path path = final_path;
  if (!path.has_filename()) path = path.parent_path();  // a trailing slash
  if (path.filename() == "." || path.filename() == "..") {
    const fs::path real = fs::canonical(path, error);
    if (!error) path = real;
  }
  for (int i = 0; i < most_links && fs::is_symlink(fs::symlink_status(path, error)); ++i) {
    const fs::path to = fs::read_symlink(path, error);
    if (error) break;
    path = path.parent_path() / to;
    if (!path.has_filename()) path = path.parent_path();
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

// Throws what errno says.
[[noreturn]] void fail_to_place(const std::string& given) {
  throw Error(given + ": cannot be put in place: " + reason(errno) + "; nothing was kept");
}

// False, with errno EEXIST or ENOTEMPTY, where `to` is taken. (On a file system that does not know
// the flag an empty folder counts as free.)
bool rename_to_free(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  return (errno == EINVAL || errno == ENOSYS) && ::rename(from.c_str(), to.c_str()) == 0;
}

// In one step; on a file system that cannot, one goes away, the other takes its place, and back
// where that fails.
bool exchange_names(const std::string& a, const std::string& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  const std::string away = a + ".old";
  if (::rename(b.c_str(), away.c_str()) != 0) return false;
  if (::rename(a.c_str(), b.c_str()) == 0) return ::rename(away.c_str(), a.c_str()) == 0;
  const int code = errno;
  ::rename(away.c_str(), b.c_str());
  errno = code;
  return false;
}

// Waits until the disk has the file, or the folder's list of entries.
bool flush_entry(const fs::path& path) {
  const int entry = open_entry(path);
  if (entry < 0) return errno == EACCES;  // not ours: kept from before
  const bool is_flushed = ::fsync(entry) == 0;
  const int code = errno;
  ::close(entry);
  errno = code;
  return is_flushed;
}

// The path and, of a folder, the files and folders in it.
std::vector<fs::path> tree_of(const fs::path& root) {
  std::vector<fs::path> entries = {root};
  std::error_code none;
  if (!fs::is_directory(root, none)) return entries;
  for (fs::recursive_directory_iterator entry(root, none), end; !none && entry != end;
       entry.increment(none)) {
    const fs::file_type type = entry->symlink_status().type();
    if (type == fs::file_type::regular || type == fs::file_type::directory)
      entries.push_back(entry->path());
  }
  return entries;
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
      const bool is_made = ::mkdir(staged_.c_str(), 0777) == 0;
      if (is_made) lock_ = open_entry(staged_);
      if (is_made && lock_ < 0 && errno == ENOENT)
        continue;  // another process has taken it for left over before it could be opened
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
  // In place, nothing has the hidden name any more, or what was there before.
  fs::remove_all(staged_, ignored);
  staged_paths().erase(staged_);
  for (const int held : {lock_, former_lock_})
    if (held >= 0) ::close(held);
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

// Whether it is staged inside a folder that is staged itself, and reaches the disk with that.
bool StagedPath::is_nested() const {
  const std::lock_guard<std::mutex> lock(staged_mutex);
  return std::any_of(staged_paths().begin(), staged_paths().end(), [this](const std::string& path) {
    return final_.compare(0, path.size() + 1, path + "/") == 0;
  });
}

// A few files one by one: a call for the whole file system waits for what other processes write,
// and no signal ends it (1.6 s beside a compiler). Many by that call: thousands of pictures one by
// one take minutes.
void StagedPath::flush() const {
  constexpr size_t few = 16;
  if (is_nested()) return;
  const std::vector<fs::path> entries = tree_of(staged_);
  const bool is_flushed = entries.size() > few
                              ? ::syncfs(lock_) == 0
                              : std::all_of(entries.begin(), entries.end(), flush_entry);
  if (!is_flushed && errno != EINVAL)
    throw Error(given_ + ": cannot be written: " + reason(errno) + "; nothing was kept");
}

void StagedPath::place(const std::function<void()>& rename) {
  flush();
  {
    const std::lock_guard<std::mutex> lock(staged_mutex);
    rename();
  }
  flush_rename();
}

// Until then a crash may undo it.
void StagedPath::flush_rename() const {
  if (!is_nested()) flush_entry(folder_of(final_) / ".");
}

void StagedPath::commit() {
  place([this] {
    if (::rename(staged_.c_str(), final_.c_str()) != 0) fail_to_place(given_);
  });
}

bool StagedPath::commit_new() {
  bool is_free = true;
  place([this, &is_free] {
    if (rename_to_free(staged_, final_)) return;
    is_free = errno != EEXIST && errno != ENOTEMPTY;
    if (is_free) fail_to_place(given_);
  });
  return is_free;
}

// Under its hidden name it must not look abandoned to another process before all are in place.
// Where somebody else has the lock it does not.
void StagedPath::hold_former() {
  former_lock_ = open_entry(final_);
  if (former_lock_ >= 0) ::flock(former_lock_, LOCK_EX | LOCK_NB);
}

void StagedPath::exchange() {
  std::error_code ignored;
  const fs::file_status former = fs::symlink_status(final_, ignored);
  replaces_ = fs::exists(former);
  errno = ENOTDIR;
  const bool is_placed = replaces_ ? fs::is_directory(former) && exchange_names(staged_, final_)
                                   : rename_to_free(staged_, final_);
  if (!is_placed) fail_to_place(given_);
}

// Returns what is wrong where that fails (a broken disk): what was there keeps its hidden name.
std::string StagedPath::exchange_back() {
  if (replaces_ ? exchange_names(staged_, final_) : rename_to_free(final_, staged_)) return "";
  std::string problem = given_ + ": cannot be put back: " + reason(errno);
  if (replaces_) problem += "; what was there is in " + staged_;
  staged_paths().erase(staged_);
  staged_.clear();
  return "; " + problem;
}

void StagedPath::replace_folders(const std::vector<StagedPath*>& folders) {
  for (StagedPath* folder : folders) {
    folder->flush();
    folder->hold_former();
  }
  {
    const std::lock_guard<std::mutex> lock(staged_mutex);
    size_t placed = 0;
    try {
      for (; placed < folders.size(); ++placed) folders[placed]->exchange();
    } catch (const Error& error) {
      std::string problems = error.what();
      while (placed > 0) problems += folders[--placed]->exchange_back();
      throw Error(problems);
    }
  }
  std::error_code ignored;
  for (const StagedPath* folder : folders) {
    folder->flush_rename();
    fs::remove_all(folder->staged_, ignored);
  }
}

void StagedPath::replace_folder() { replace_folders({this}); }

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
