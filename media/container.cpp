#include "media/container.h"

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace mattec::media {
namespace {

class ByteReader {
 public:
  explicit ByteReader(const std::string& path) : file_(path, std::ios::binary) {
    std::error_code error;
    size_ = std::filesystem::file_size(path, error);
    if (error) size_ = 0;
  }
  uint64_t size() const { return size_; }

  // `count` bytes at `offset`; zeros past the end.
  template <size_t count>
  std::array<uint8_t, count> at(uint64_t offset) {
    std::array<uint8_t, count> bytes = {};
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(offset));
    file_.read(reinterpret_cast<char*>(bytes.data()), count);
    return bytes;
  }

 private:
  std::ifstream file_;
  uint64_t size_ = 0;
};

template <size_t count>
uint64_t big_endian(const std::array<uint8_t, count>& bytes) {
  uint64_t value = 0;
  for (const uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

std::string ends_too_late(const std::string& part, uint64_t end, uint64_t file_size) {
  return fmt::format("its {} ends at byte {}, the file at byte {}", part, end, file_size);
}

// ISO/IEC 14496-12: boxes of 32-bit size and type; size 1 = 64-bit size follows, 0 = to the end.
// An index that is not before a box without end is not there at all.
std::string missing_end_of_mp4(ByteReader& reader) {
  bool has_index = false;
  uint64_t position = 0;
  while (position + 8 <= reader.size()) {
    uint64_t size = big_endian(reader.at<4>(position));
    const std::array<uint8_t, 4> type = reader.at<4>(position + 4);
    const std::string name(type.begin(), type.end());
    if (size == 1) size = big_endian(reader.at<8>(position + 8));
    has_index = has_index || name == "moov" || name == "moof";
    if (size < 8) break;
    if (size > reader.size() - position)
      return ends_too_late(name + " box", position + size, reader.size());
    position += size;
  }
  return has_index ? "" : "it has no index (moov box)";
}

// RIFF chunks one after the other (an AVI above 1 GB has several).
std::string missing_end_of_avi(ByteReader& reader) {
  uint64_t position = 0;
  while (position + 8 <= reader.size()) {
    const std::array<uint8_t, 4> tag = reader.at<4>(position);
    if (std::memcmp(tag.data(), "RIFF", 4) != 0) return "";
    const std::array<uint8_t, 4> bytes = reader.at<4>(position + 4);
    const uint64_t size = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | uint64_t{bytes[3]} << 24;
    if (size > reader.size() - position - 8)
      return ends_too_late("RIFF chunk", position + 8 + size, reader.size());
    position += 8 + size + (size & 1);
  }
  return "";
}

struct ElementSize {
  uint64_t bytes = 0;  // of the element's content
  int length = 0;      // of the field itself, 0 = not a size
  bool unknown = false;
};

// EBML variable-length integer (RFC 8794): leading zeros give the length; all ones = unknown.
ElementSize element_size(ByteReader& reader, uint64_t position) {
  const std::array<uint8_t, 8> bytes = reader.at<8>(position);
  ElementSize result;
  int length = 1;
  while (length <= 8 && (bytes[0] & (0x80 >> (length - 1))) == 0) ++length;
  if (length > 8) return result;
  uint64_t value = bytes[0] & (0xff >> length);
  for (int i = 1; i < length; ++i) value = value << 8 | bytes[static_cast<size_t>(i)];
  result.length = length;
  result.bytes = value;
  result.unknown = value == (uint64_t{1} << (7 * length)) - 1;
  return result;
}

std::string missing_end_of_matroska(ByteReader& reader) {
  const ElementSize header = element_size(reader, 4);
  const uint64_t segment = 4 + static_cast<uint64_t>(header.length) + header.bytes;
  if (header.length == 0 || header.bytes > reader.size() || segment + 5 > reader.size())
    return "it ends inside its header";
  if (big_endian(reader.at<4>(segment)) != 0x18538067) return "";
  const ElementSize content = element_size(reader, segment + 4);
  if (content.length == 0 || content.unknown) return "";
  const uint64_t start = segment + 4 + static_cast<uint64_t>(content.length);
  if (content.bytes > reader.size() - std::min(start, reader.size()))
    return ends_too_late("Segment", start + content.bytes, reader.size());
  return "";
}

// Chunks of 32-bit length, type, content, checksum; the last one is IEND.
std::string missing_end_of_png(ByteReader& reader) {
  uint64_t position = 8;
  while (position + 12 <= reader.size()) {
    const std::array<uint8_t, 8> head = reader.at<8>(position);
    if (std::memcmp(head.data() + 4, "IEND", 4) == 0) return "";
    position += 12 + (big_endian(head) >> 32);
  }
  return "it has no IEND chunk";
}

// Marker segments with a length, but for coded data after "start of scan", which runs to the next
// marker (FF with neither a stuffed zero nor a restart behind it). The last marker is FF D9.
std::string missing_end_of_jpeg(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)),
                                   std::istreambuf_iterator<char>());
  bool in_scan = false;
  for (size_t i = 2; i + 1 < bytes.size();) {
    const uint8_t next = bytes[i + 1];
    const bool is_data = bytes[i] != 0xff || next == 0 || (next >= 0xd0 && next <= 0xd7);
    if ((in_scan && is_data) || (bytes[i] == 0xff && next == 0xff)) {
      ++i;  // coded data, or padding before a marker
    } else if (next == 0xd9 || bytes[i] != 0xff) {
      return "";  // the end, or damage that the decoder will report
    } else {
      if (i + 3 >= bytes.size()) break;
      in_scan = next == 0xda;
      i += 2 + static_cast<size_t>(bytes[i + 2] << 8 | bytes[i + 3]);
    }
  }
  return "it has no end marker";
}

}  // namespace

std::string missing_end(const std::string& path) {
  ByteReader reader(path);
  const std::array<uint8_t, 8> start = reader.at<8>(0);
  if (std::memcmp(start.data() + 4, "ftyp", 4) == 0) return missing_end_of_mp4(reader);
  if (std::memcmp(start.data(), "RIFF", 4) == 0) return missing_end_of_avi(reader);
  if (std::memcmp(start.data(), "\x1a\x45\xdf\xa3", 4) == 0) return missing_end_of_matroska(reader);
  if (std::memcmp(start.data(), "\x89PNG", 4) == 0) return missing_end_of_png(reader);
  if (std::memcmp(start.data(), "\xff\xd8\xff", 3) == 0) return missing_end_of_jpeg(path);
  return "";
}

}  // namespace mattec::media
