// Output that appears whole or not at all.
#pragma once

#include <functional>
#include <string>

namespace mattec::tools {

// A file or folder is written under `path()`, a hidden name beside the final one (same file
// system, same extension: video writers choose the container by it). commit() renames it; without
// commit the destructor removes it.
class StagedPath {
 public:
  // Throws Error if the folder that is to hold `final_path` does not exist or is no folder.
  explicit StagedPath(const std::string& final_path);
  ~StagedPath();
  StagedPath(const StagedPath&) = delete;
  StagedPath& operator=(const StagedPath&) = delete;

  const std::string& path() const { return staged_; }
  // Does `work`, whose Errors then name the final path where they named the hidden one.
  void with_final_name(const std::function<void()>& work) const;
  // Replaces a file or an empty folder at the final path. Throws Error.
  void commit();

 private:
  std::string final_, staged_;
  bool committed_ = false;
};

// Writes a whole file; throws Error naming `name_for_user` and the system's reason (disk full).
void write_file(const std::string& path, const void* data, size_t size,
                const std::string& name_for_user);

// Throws Error if the file system that holds `path` is as good as full. Video writers swallow
// write errors; this stops them early instead of after the last frame.
void require_disk_space(const std::string& path, const std::string& name_for_user);

}  // namespace mattec::tools
