// Output that appears whole or not at all.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace mattec {

// A file or folder is written under `path()`, a hidden name beside the final one (same file
// system, same extension: video writers choose the container by it). commit() renames it; without
// commit the destructor removes it. What a killed process left for the same final path is removed
// by the next one: whoever writes holds a lock (flock).
class StagedPath {
 public:
  enum class Kind { file, folder };
  // Makes an empty file or folder. A final path that is a symbolic link stays one. Throws Error if
  // the folder that is to hold `final_path` does not exist, if nothing can be made there, or if
  // what is at the final path is neither a file nor a folder (a device, a pipe).
  StagedPath(const std::string& final_path, Kind kind);
  ~StagedPath();
  StagedPath(const StagedPath&) = delete;
  StagedPath& operator=(const StagedPath&) = delete;

  const std::string& path() const { return staged_; }
  // Does `work`, whose Errors then name the final path where they named the hidden one.
  void with_final_name(const std::function<void()>& work) const;
  // Waits until the disk has it and puts it in place of a file or an empty folder. Throws Error.
  void commit();
  // The same where nothing is there; false where something is by now.
  bool commit_new();
  // The same in place of a folder that may hold something, which is removed afterwards.
  void replace_folder();
  // The same for several: all of them or, where one cannot be put in place, none. A process that is
  // killed between two of them leaves each either as it was or new, never in between.
  static void replace_folders(const std::vector<StagedPath*>& folders);

 private:
  void make(Kind kind);
  void remove_left_over() const;
  bool is_nested() const;
  void flush() const;
  void flush_rename() const;
  void place(const std::function<void()>& rename);
  void hold_former();
  void exchange();
  std::string exchange_back();

  std::string given_, final_, staged_;
  int lock_ = -1, former_lock_ = -1;
  bool replaces_ = false;  // once exchanged: something was there, and has the hidden name
};

// Removes what is staged anywhere in the process and keeps commit() from putting anything in place:
// for whoever ends the process.
void remove_staged_paths();

// Writes a whole file; throws Error naming `name_for_user` and the system's reason (disk full), and
// leaves nothing then.
void write_file(const std::string& path, const void* data, size_t size,
                const std::string& name_for_user);

// The same, staged: written beside `path` and put in place.
void write_file_atomically(const std::string& path, const void* data, size_t size);

// Throws Error if the file system that holds `path` is as good as full. Video writers swallow
// write errors; this stops them early instead of after the last frame.
void require_disk_space(const std::string& path, const std::string& name_for_user);

}  // namespace mattec
