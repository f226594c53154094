// Files as torch.save writes them, byte by byte.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "frontend/networks.h"

namespace mattec::testing {

inline std::string little_endian(uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i, value >>= 8) bytes += static_cast<char>(value & 255);
  return bytes;
}

// An entry of a zip archive with the correct checksum.
struct ZipEntry {
  std::string name;
  std::string packed;  // as it lies in the file
  uint64_t size = 0, checksum = 0;
  bool is_deflated = false;
};

inline ZipEntry stored_entry(const std::string& name, const std::string& content) {
  return {
      name, content, content.size(),
      crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())),
      false};
}

// Zero bytes as deflate writes them, ending at a whole byte, so that such parts may follow each
// other.
inline std::string deflated_part(size_t size) {
  std::vector<Bytef> zeros(size, 0), out(size + 1024);
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = zeros.data();
  stream.avail_in = static_cast<uInt>(size);
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FULL_FLUSH);
  deflateEnd(&stream);
  return {out.begin(), out.end() - stream.avail_out};
}

// An entry of `size` zero bytes, deflated without making them all.
inline ZipEntry deflated_zeros(const std::string& name, uint64_t size) {
  constexpr uint64_t part_bytes = uint64_t{1} << 20;
  const auto rest = static_cast<size_t>(size % part_bytes);
  const std::vector<Bytef> zeros(part_bytes, 0);
  const uLong checksum_of_part = crc32(0, zeros.data(), static_cast<uInt>(part_bytes));
  const std::string part = size < part_bytes ? "" : deflated_part(part_bytes);
  ZipEntry entry{name, "", size, crc32(0, nullptr, 0), true};
  for (uint64_t i = 0; i < size / part_bytes; ++i) {
    entry.packed += part;
    entry.checksum =
        crc32_combine(entry.checksum, checksum_of_part, static_cast<z_off_t>(part_bytes));
  }
  entry.packed += deflated_part(rest) + std::string("\x03\x00", 2);  // an empty last block
  entry.checksum = crc32(entry.checksum, zeros.data(), static_cast<uInt>(rest));
  return entry;
}

// A zip archive (APPNOTE.TXT, see frontend/zip.cpp).
inline std::string zip_of(const std::vector<ZipEntry>& entries) {
  std::string file, directory;
  for (const ZipEntry& entry : entries) {
    const std::string method = little_endian(entry.is_deflated ? 8 : 0, 2);
    const std::string sizes = little_endian(entry.checksum, 4) +
                              little_endian(entry.packed.size(), 4) + little_endian(entry.size, 4) +
                              little_endian(entry.name.size(), 2) + little_endian(0, 2);
    directory.append("PK\1\2").append(6, '\0').append(method).append(4, '\0').append(sizes);
    directory.append(10, '\0').append(little_endian(file.size(), 4)).append(entry.name);
    file.append("PK\3\4").append(4, '\0').append(method).append(4, '\0').append(sizes);
    file.append(entry.name).append(entry.packed);
  }
  const std::string end = "PK\5\6" + little_endian(0, 4) + little_endian(entries.size(), 2) +
                          little_endian(entries.size(), 2) + little_endian(directory.size(), 4) +
                          little_endian(file.size(), 4) + little_endian(0, 2);
  return file + directory + end;
}

// Of stored entries.
inline std::string zip_of(const std::vector<std::pair<std::string, std::string>>& contents) {
  std::vector<ZipEntry> entries;
  for (const auto& [name, content] : contents) entries.push_back(stored_entry(name, content));
  return zip_of(entries);
}

// Pickle instructions as PyTorch writes them.
inline std::string text(const std::string& value) {
  return "X" + little_endian(value.size(), 4) + value;
}
inline std::string integer(size_t value) { return "J" + little_endian(value, 4); }
inline std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
inline std::string storage(const std::string& type, const std::string& key, size_t count) {
  return tuple(
             {text("storage"), "ctorch\n" + type + "\n", text(key), text("cpu"), integer(count)}) +
         "Q";
}
inline std::string tensor(const std::string& storage, size_t offset,
                          const std::vector<size_t>& size, const std::vector<size_t>& stride) {
  std::vector<std::string> sizes, strides;
  for (size_t value : size) sizes.push_back(integer(value));
  for (size_t value : stride) strides.push_back(integer(value));
  return "ctorch._utils\n_rebuild_tensor_v2\n" +
         tuple({storage, integer(offset), tuple(sizes), tuple(strides), "\x89",
                "ccollections\nOrderedDict\n)R"}) +
         "R";
}
// A dictionary inside a pickle, and a pickle of one.
inline std::string nested(const std::string& items) {
  return "ccollections\nOrderedDict\n)R(" + items + "u";
}
inline std::string dictionary(const std::string& items) { return "\x80\x02" + nested(items) + "."; }

inline std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// The items of a state dict, and the entries that hold its storages.
struct StateDict {
  std::string items;
  std::vector<std::pair<std::string, std::string>> entries;
};

inline StateDict state_dict(const frontend::Weights& weights, const std::string& prefix = "") {
  StateDict made;
  for (const auto& [name, array] : weights) {
    const std::string key = prefix + std::to_string(made.entries.size());
    std::vector<size_t> size, stride(array.shape.size(), 1);
    for (int64_t extent : array.shape) size.push_back(static_cast<size_t>(extent));
    for (size_t d = size.size(); d-- > 1;) stride[d - 1] = stride[d] * size[d];
    made.items += text(prefix + name) +
                  tensor(storage("FloatStorage", key, array.values.size()), 0, size, stride);
    made.entries.push_back({"net/data/" + key, bytes_of(array.values)});
  }
  return made;
}

// A file whose pickle is `pickle` and whose storages are `entries`.
inline std::string checkpoint(const std::string& pickle,
                              std::vector<std::pair<std::string, std::string>> entries) {
  entries.insert(entries.begin(), {"net/data.pkl", pickle});
  entries.push_back({"net/version", "3\n"});
  return zip_of(entries);
}

// A state dict in PyTorch's format.
inline std::string state_dict_of(const frontend::Weights& weights) {
  const StateDict made = state_dict(weights);
  return checkpoint(dictionary(made.items), made.entries);
}

}  // namespace mattec::testing
