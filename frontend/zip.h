// The zip container of PyTorch's files, read defensively.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mattec::frontend {

// An archive in memory. Reading one checks its directory, that every entry lies inside the file
// and that every entry's content has the checksum the directory states, so that what reads the
// content afterwards never meets accidental corruption.
class ZipArchive {
 public:
  // `path` is the file's name for messages. Throws Error where the bytes are no sound archive.
  ZipArchive(std::string bytes, std::string path);

  const std::string& bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return entries_.count(name) > 0; }
  std::vector<std::string> names() const;
  // Uncompressed content. Throws Error where there is no such entry.
  std::string content(const std::string& name) const;
  // The folder that holds everything ("archive"), empty if there is none; PyTorch writes one.
  std::string root() const;

 private:
  struct Entry {
    uint64_t offset = 0;  // of the data
    uint64_t stored_size = 0, size = 0;
    uint32_t checksum = 0;
    uint16_t method = 0;  // 0 stored, 8 deflated
  };

  void read_directory();
  // Reads the directory record at `at`, adds its entry, returns where the next one begins.
  uint64_t read_record(uint64_t at);
  void locate_data(uint64_t header, Entry& entry) const;
  std::string uncompressed(const std::string& name, const Entry& entry) const;
  // Little-endian number of `size` bytes; throws Error outside the file.
  uint64_t number(uint64_t at, int size) const;
  [[noreturn]] void refuse(const std::string& why) const;

  std::string bytes_, path_;
  std::map<std::string, Entry> entries_;
};

}  // namespace mattec::frontend
