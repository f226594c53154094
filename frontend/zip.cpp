#include "frontend/zip.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"

namespace mattec::frontend {
namespace {

// Layouts: PKWARE APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16
// (ends of the directory), 4.5.3 (64-bit sizes).
constexpr uint32_t local_header = 0x04034b50, directory_record = 0x02014b50,
                   directory_end = 0x06054b50, directory_end_64 = 0x06064b50,
                   locator_64 = 0x07064b50;
constexpr uint64_t end_size = 22, locator_size = 20, longest_comment = 65535;
constexpr uint64_t in_extra_field = 0xffffffff;  // a 32-bit size that stands for a 64-bit one
// A network's archive has some hundred entries.
constexpr uint64_t most_entries = uint64_t{1} << 20;
// PyTorch deflates code alone; weights it stores.
constexpr uint64_t most_inflated = uint64_t{256} << 20;
constexpr size_t block_bytes = size_t{1} << 20;
constexpr uint16_t stored = 0, deflated = 8;

}  // namespace

ZipArchive::ZipArchive(std::string bytes, std::string path)
    : bytes_(std::move(bytes)), path_(std::move(path)) {
  read_directory();
  refuse_overlaps();
}

void ZipArchive::refuse(const std::string& why) const {
  throw Error(path_ + ": is a damaged zip archive (" + printable(why) +
              "); download or export it again");
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
  if (count > most_entries) refuse("its directory has an impossible length");
  for (uint64_t i = 0; i < count; ++i) at = read_record(at);
}

uint64_t ZipArchive::read_record(uint64_t at) {
  if (number(at, 4) != directory_record) refuse("a directory record is missing");
  stop_if_interrupted();
  Entry entry;
  entry.method = static_cast<uint16_t>(number(at + 10, 2));
  entry.checksum = static_cast<uint32_t>(number(at + 16, 4));
  entry.stored_size = number(at + 20, 4);
  entry.size = number(at + 24, 4);
  entry.header = number(at + 42, 4);
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
      for (uint64_t* size : {&entry.size, &entry.stored_size, &entry.header})
        if (*size == in_extra_field) {
          if (value + 8 > next) refuse("the sizes of entry '" + name + "' are missing");
          *size = number(value, 8);
          value += 8;
        }
    field = next;
  }
  locate_data(entry);
  if (!entries_.emplace(name, entry).second) refuse("entry '" + name + "' is there twice");
  return extra + extra_size + comment_size;
}

void ZipArchive::locate_data(Entry& entry) const {
  const uint64_t header = entry.header;
  if (number(header, 4) != local_header) refuse("an entry's header is missing");
  entry.offset = header + 30 + number(header + 26, 2) + number(header + 28, 2);
  if (entry.offset > bytes_.size() || entry.stored_size > bytes_.size() - entry.offset)
    refuse("an entry reaches beyond the end");
  if (entry.method == stored && entry.stored_size != entry.size)
    refuse("an entry has two different sizes");
}

// Entries that share bytes let a small file hold any amount of content.
void ZipArchive::refuse_overlaps() const {
  std::vector<const Entry*> order;
  for (const auto& each : entries_) order.push_back(&each.second);
  std::sort(order.begin(), order.end(),
            [](const Entry* a, const Entry* b) { return a->header < b->header; });
  uint64_t end = 0;
  for (const Entry* entry : order) {
    if (entry->header < end) refuse("two entries share bytes");
    end = entry->offset + entry->stored_size;
  }
}

void ZipArchive::unpack(const std::string& name, const Entry& entry, const Sink& sink) const {
  uint64_t done = 0;
  uLong checksum = crc32(0, nullptr, 0);
  const auto take = [&](const char* data, size_t size) {
    stop_if_interrupted();
    if (size > entry.size - done) refuse("entry '" + name + "' is longer than stated");
    done += size;
    checksum = crc32(checksum, reinterpret_cast<const Bytef*>(data), static_cast<uInt>(size));
    sink(data, size);
  };
  if (entry.method == stored) {
    for (uint64_t at = 0; at < entry.size; at += block_bytes)
      take(bytes_.data() + entry.offset + at, std::min<uint64_t>(block_bytes, entry.size - at));
  } else if (entry.method == deflated) {
    inflate_blocks(name, entry, take);
  } else {
    refuse("entry '" + name + "' is packed by an unknown method");
  }
  if (done != entry.size) refuse("entry '" + name + "' is shorter than stated");
  if (checksum != entry.checksum) refuse("entry '" + name + "' has a wrong checksum");
}

void ZipArchive::inflate_blocks(const std::string& name, const Entry& entry,
                                const Sink& sink) const {
  z_stream stream = {};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes_.data() + entry.offset));
  stream.avail_in = static_cast<uInt>(entry.stored_size);
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) refuse("zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  std::vector<char> block(std::min<uint64_t>(block_bytes, entry.size + 1));
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    result = inflate(&stream, Z_NO_FLUSH);
    sink(block.data(), block.size() - stream.avail_out);
  }
  if (result != Z_STREAM_END) refuse("entry '" + name + "' cannot be unpacked");
}

std::vector<std::string> ZipArchive::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const ZipArchive::Entry& ZipArchive::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) refuse("entry '" + name + "' is missing");
  return found->second;
}

uint64_t ZipArchive::unpacked_size(const std::string& name) const {
  return entry(name).method == stored ? 0 : entry(name).size;
}

ZipContent ZipArchive::view(const std::string& name, uint64_t most_bytes) const {
  const Entry& found = entry(name);
  if (found.size > most_bytes)
    refuse("entry '" + name + "' of " + std::to_string(found.size) + " bytes is too large");
  ZipContent content;
  if (found.method == stored) {
    unpack(name, found, [](const char*, size_t) {});
    content.bytes = {bytes_.data() + found.offset, found.size};
    return content;
  }
  // Deflate cannot expand more than 1032 times (zlib's technical details).
  if (found.size / 1032 > found.stored_size) refuse("entry '" + name + "' has a false size");
  content.unpacked.reserve(found.size);
  unpack(name, found, [&](const char* data, size_t size) {
    content.unpacked.insert(content.unpacked.end(), data, data + size);
  });
  content.bytes = {content.unpacked.data(), content.unpacked.size()};
  return content;
}

std::string ZipArchive::content(const std::string& name, uint64_t most_bytes) const {
  return std::string(view(name, most_bytes).bytes);
}

void ZipArchive::check_contents() const {
  uint64_t inflated = 0;
  for (const auto& [name, entry] : entries_) {
    if (entry.method != stored) inflated += std::min(entry.size, most_inflated + 1);
    if (inflated > most_inflated)
      refuse("its deflated entries are too large for a network, '" + name + "' among them");
  }
  for (const auto& [name, entry] : entries_) unpack(name, entry, [](const char*, size_t) {});
}

std::string ZipArchive::root() const {
  if (entries_.empty()) return "";
  const std::string& first = entries_.begin()->first;
  return first.substr(0, std::min(first.find('/'), first.size()));
}

}  // namespace mattec::frontend
