#include "frontend/zip.h"

#include <zlib.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace mattec::frontend {
namespace {

// Layouts: PKWARE APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16
// (ends of the directory), 4.5.3 (64-bit sizes).
constexpr uint32_t local_header = 0x04034b50, directory_record = 0x02014b50,
                   directory_end = 0x06054b50, directory_end_64 = 0x06064b50,
                   locator_64 = 0x07064b50;
constexpr uint64_t end_size = 22, locator_size = 20, longest_comment = 65535;
constexpr uint64_t in_extra_field = 0xffffffff;  // a 32-bit size that stands for a 64-bit one
// Networks are far smaller; a deflated entry may claim anything.
constexpr uint64_t largest_content = uint64_t{1} << 30;

}  // namespace

ZipArchive::ZipArchive(std::string bytes, std::string path)
    : bytes_(std::move(bytes)), path_(std::move(path)) {
  read_directory();
  uint64_t total = 0;
  for (const auto& [name, entry] : entries_) {
    total += entry.size;
    if (entry.size > largest_content || total > 4 * largest_content)
      refuse("entry '" + name + "' is too large for a network");
    uncompressed(name, entry);
  }
}

void ZipArchive::refuse(const std::string& why) const {
  throw Error(path_ + ": is a damaged zip archive (" + why + "); download or export it again");
}

uint64_t ZipArchive::number(uint64_t at, int size) const {
  if (at > bytes_.size() || bytes_.size() - at < static_cast<uint64_t>(size))
    refuse("it ends too early");
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | static_cast<uint8_t>(bytes_[at + static_cast<uint64_t>(i)]);
  return value;
}

void ZipArchive::read_directory() {
  if (bytes_.size() < end_size) refuse("it ends too early");
  uint64_t end = bytes_.size() - end_size;
  const uint64_t lowest = end > longest_comment ? end - longest_comment : 0;
  while (number(end, 4) != directory_end) {
    if (end == lowest) refuse("its directory is missing");
    --end;
  }
  uint64_t count = number(end + 10, 2), at = number(end + 16, 4);
  if (end >= locator_size && number(end - locator_size, 4) == locator_64) {
    const uint64_t end_64 = number(end - locator_size + 8, 8);
    if (number(end_64, 4) != directory_end_64) refuse("its 64-bit directory is missing");
    count = number(end_64 + 32, 8);
    at = number(end_64 + 48, 8);
  }
  if (count > bytes_.size()) refuse("its directory has an impossible length");
  for (uint64_t i = 0; i < count; ++i) at = read_record(at);
}

uint64_t ZipArchive::read_record(uint64_t at) {
  if (number(at, 4) != directory_record) refuse("a directory record is missing");
  Entry entry;
  entry.method = static_cast<uint16_t>(number(at + 10, 2));
  entry.checksum = static_cast<uint32_t>(number(at + 16, 4));
  entry.stored_size = number(at + 20, 4);
  entry.size = number(at + 24, 4);
  uint64_t header = number(at + 42, 4);
  const uint64_t name_size = number(at + 28, 2), extra_size = number(at + 30, 2),
                 comment_size = number(at + 32, 2);
  const uint64_t extra = at + 46 + name_size;
  number(at + 46, 0);
  if (extra + extra_size + comment_size > bytes_.size()) refuse("it ends too early");
  const std::string name = bytes_.substr(at + 46, name_size);
  for (uint64_t field = extra; field + 4 <= extra + extra_size;) {
    uint64_t value = field + 4;
    const uint64_t next = value + number(field + 2, 2);
    if (number(field, 2) == 1)
      for (uint64_t* size : {&entry.size, &entry.stored_size, &header})
        if (*size == in_extra_field) {
          if (value + 8 > next) refuse("the sizes of entry '" + name + "' are missing");
          *size = number(value, 8);
          value += 8;
        }
    field = next;
  }
  locate_data(header, entry);
  if (!entries_.emplace(name, entry).second) refuse("entry '" + name + "' is there twice");
  return extra + extra_size + comment_size;
}

void ZipArchive::locate_data(uint64_t header, Entry& entry) const {
  if (number(header, 4) != local_header) refuse("an entry's header is missing");
  entry.offset = header + 30 + number(header + 26, 2) + number(header + 28, 2);
  if (entry.offset > bytes_.size() || entry.stored_size > bytes_.size() - entry.offset)
    refuse("an entry reaches beyond the end");
  if (entry.method == 0 && entry.stored_size != entry.size)
    refuse("an entry has two different sizes");
}

std::string ZipArchive::uncompressed(const std::string& name, const Entry& entry) const {
  std::string content;
  if (entry.method == 0) {
    content = bytes_.substr(entry.offset, entry.size);
  } else if (entry.method == 8) {
    // Deflate cannot expand more than 1032 times (zlib's technical details).
    if (entry.size / 1032 > entry.stored_size) refuse("entry '" + name + "' has a false size");
    content.resize(entry.size + 1);  // one more, so that longer content than stated shows
    z_stream stream = {};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(&bytes_[0] + entry.offset));
    stream.avail_in = static_cast<uInt>(entry.stored_size);
    stream.next_out = reinterpret_cast<Bytef*>(&content[0]);
    stream.avail_out = static_cast<uInt>(content.size());
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) refuse("zlib cannot start");
    const int result = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    if (result != Z_STREAM_END || stream.total_out != entry.size)
      refuse("entry '" + name + "' cannot be unpacked");
    content.resize(entry.size);
  } else {
    refuse("entry '" + name + "' is packed by an unknown method");
  }
  const uLong checksum =
      crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size()));
  if (checksum != entry.checksum) refuse("entry '" + name + "' has a wrong checksum");
  return content;
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::string ZipArchive::content(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) refuse("entry '" + name + "' is missing");
  return uncompressed(name, found->second);
}

std::string ZipArchive::root() const {
  if (entries_.empty()) return "";
  const std::string& first = entries_.begin()->first;
  return first.substr(0, std::min(first.find('/'), first.size()));
}

}  // namespace mattec::frontend
