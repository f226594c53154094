// The zip container of PyTorch's files, read defensively.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mattec::frontend {

// An entry's content. `bytes` points into `unpacked` or, of entries that are stored as they are,
// into the archive, which must live as long.
struct ZipContent {
  std::vector<char> unpacked;
  std::string_view bytes;

  ZipContent() = default;
  ZipContent(ZipContent&&) = default;
  ZipContent& operator=(ZipContent&&) = default;
};

// An archive in memory. Making one checks its directory: every entry lies inside the file and
// shares no byte with another. Contents are unpacked and compared with the checksum that the
// directory states when they are asked for. All that takes long throws Interrupted after a signal.
class ZipArchive {
 public:
  // `path` is the file's name for messages. Throws Error where the bytes are no sound archive.
  ZipArchive(std::string bytes, std::string path);

  const std::string& bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return entries_.count(name) > 0; }
  std::vector<std::string> names() const;
  // Bytes of the content as the directory states them, and how many of those are not in the file
  // but come from unpacking. Throws Error where there is no such entry.
  uint64_t size(const std::string& name) const { return entry(name).size; }
  uint64_t unpacked_size(const std::string& name) const;
  // Uncompressed content. Throws Error where there is no such entry, or one of more than
  // `most_bytes`, before anything is unpacked.
  std::string content(const std::string& name, uint64_t most_bytes = uint64_t{64} << 20) const;
  // The same, copied only where it must be unpacked.
  ZipContent view(const std::string& name, uint64_t most_bytes) const;
  // Unpacks everything once, without keeping it: what reads the bytes afterwards (LibTorch) never
  // meets accidental corruption. Throws Error where a checksum is wrong, or where it is no longer
  // the archive of a network that is unpacked.
  void check_contents() const;
  // The folder that holds everything ("archive"), empty if there is none; PyTorch writes one.
  std::string root() const;

 private:
  struct Entry {
    uint64_t header = 0, offset = 0;  // of its local header and of the data
    uint64_t stored_size = 0, size = 0;
    uint32_t checksum = 0;
    uint16_t method = 0;  // 0 stored, 8 deflated
  };
  using Sink = std::function<void(const char*, size_t)>;

  void read_directory();
  // Reads the directory record at `at`, adds its entry, returns where the next one begins.
  uint64_t read_record(uint64_t at);
  void locate_data(Entry& entry) const;
  void refuse_overlaps() const;
  const Entry& entry(const std::string& name) const;
  // Hands out the content block by block and checks its size and checksum.
  void unpack(const std::string& name, const Entry& entry, const Sink& sink) const;
  void inflate_blocks(const std::string& name, const Entry& entry, const Sink& sink) const;
  // Little-endian number of `size` bytes; throws Error outside the file.
  uint64_t number(uint64_t at, int size) const;
  [[noreturn]] void refuse(const std::string& why) const;

  std::string bytes_, path_;
  std::map<std::string, Entry> entries_;
};

}  // namespace mattec::frontend
