#include "targets/library_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/staged_path.h"
#include "runtime/embedded.h"

namespace mattec::targets {
namespace {

namespace fs = std::filesystem;

void write_files(const CompiledLibrary& library, const std::string& name, const fs::path& folder) {
  const std::vector<std::string> files = library_files(name);
  const std::string_view runtime_header = runtime::public_header();
  const std::string_view archive(reinterpret_cast<const char*>(library.archive.data()),
                                 library.archive.size());
  const std::string_view contents[] = {archive, library.header, runtime_header, library.manifest};
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string path = (folder / files[i]).string();
    write_file(path, contents[i].data(), contents[i].size(), path);
  }
}

// The same file under another name: costs no space, and is no copy that could be incomplete.
// Where there are no such links (FAT, another user's file) it is copied.
void link_or_copy(const fs::path& from, const fs::path& to) {
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0) == 0) return;
  std::error_code error;
  fs::copy(from, to, fs::copy_options::copy_symlinks, error);
  if (error) throw Error(from.string() + ": cannot be kept: " + error.message());
}

// All that the folder `from` holds once more in `to`, but for its entries called as one of
// `replaced`.
void keep_others(const fs::path& from, const fs::path& to,
                 const std::vector<std::string>& replaced) {
  std::error_code error;
  for (fs::directory_iterator entry(from, error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path name = entry->path().filename();
    if (std::find(replaced.begin(), replaced.end(), name.string()) != replaced.end()) continue;
    if (!fs::is_directory(entry->symlink_status())) {
      link_or_copy(entry->path(), to / name);
      continue;
    }
    fs::create_directory(to / name, entry->path(), error);  // with its permissions
    if (!error) keep_others(entry->path(), to / name, {});
  }
  if (error) throw Error(from.string() + ": cannot be kept: " + error.message());
}

// Held while what a folder holds is looked at and replaced: two commands that end at the same time
// must not lose each other's libraries. Not longer than ten seconds, a hundred times what that
// takes: the user's own scripts may hold it meanwhile (`flock out mattec compile -o out ...`).
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder)
      : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           std::chrono::steady_clock::now() < end) {
      stop_if_interrupted();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  ~FolderLock() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

void replace_in(const std::vector<CompiledLibrary>& libraries, const std::string& name,
                const fs::path& folder) {
  std::vector<std::unique_ptr<StagedPath>> staged;
  std::vector<StagedPath*> all;
  for (const CompiledLibrary& library : libraries) {
    const std::string place = (folder / library.target).string();
    staged.push_back(std::make_unique<StagedPath>(place, StagedPath::Kind::folder));
    StagedPath* const made = all.emplace_back(staged.back().get());
    made->with_final_name([&] { write_files(library, name, made->path()); });
  }
  const FolderLock lock(folder.string());
  for (size_t i = 0; i < libraries.size(); ++i) {
    const fs::path former = folder / libraries[i].target;
    std::error_code none;
    if (!fs::is_directory(former, none)) continue;
    keep_others(former, all[i]->path(), library_files(name));
    fs::permissions(all[i]->path(), fs::status(former).permissions(), none);
  }
  StagedPath::replace_folders(all);
}

void require_kind(const fs::path& path, fs::file_type kind, const std::string& problem) {
  std::error_code none;
  const fs::file_status status = fs::status(path, none);
  if (fs::exists(status) && status.type() != kind) throw Error(path.string() + problem);
}

}  // namespace

std::vector<std::string> library_files(const std::string& name) {
  return {"lib" + name + ".a", name + ".h", "mattec.h", name + ".json"};
}

void write_library(const CompiledLibrary& library, const std::string& name,
                   const std::string& folder) {
  const fs::path at = fs::path(folder) / library.target;
  std::error_code problem;
  fs::create_directories(at, problem);
  if (problem) throw Error(at.string() + ": cannot make this folder: " + problem.message());
  write_files(library, name, at);
}

void require_places(const std::vector<std::string>& targets, const std::string& name,
                    const std::string& folder) {
  const char no_folder[] = ": is no folder; name one for the libraries";
  require_kind(folder, fs::file_type::directory, no_folder);
  std::error_code none;
  if (!fs::exists(folder, none)) const StagedPath trial(folder, StagedPath::Kind::folder);
  for (const std::string& target : targets) {
    const fs::path place = fs::path(folder) / target;
    require_kind(place, fs::file_type::directory, no_folder);
    for (const std::string& file : library_files(name))
      require_kind(place / file, fs::file_type::regular, ": is no file; move it away");
    if (fs::exists(folder, none)) const StagedPath trial(place.string(), StagedPath::Kind::folder);
  }
}

void place_libraries(const std::vector<CompiledLibrary>& libraries, const std::string& name,
                     const std::string& folder) {
  std::error_code none;
  if (!fs::exists(folder, none)) {
    StagedPath whole(folder, StagedPath::Kind::folder);
    whole.with_final_name([&] {
      for (const CompiledLibrary& library : libraries) write_library(library, name, whole.path());
    });
    if (whole.commit_new()) return;  // else another process was faster
  }
  replace_in(libraries, name, folder);
}

}  // namespace mattec::targets
