#include "ir/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/read_file.h"
#include "base/staged_path.h"
#include "ir/json_limits.h"
#include "ir/names.h"

namespace mattec::ir {
namespace {

using nlohmann::json;

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "arrays are copied between memory and file as they are");

constexpr uint64_t length_bytes = 8;

// Bytes of one element; 0 for an unknown type.
uint64_t element_bytes(const std::string& type) {
  static const std::map<std::string, uint64_t> bytes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
      {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
      {"U32", 4},  {"F32", 4}, {"I64", 8}, {"U64", 8},     {"F64", 8}};
  const auto found = bytes.find(type);
  return found == bytes.end() ? 0 : found->second;
}

// Reads one header; `fail` names the file.
class Reader {
 public:
  Reader(std::string path, const uint8_t* data, uint64_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  Directory read() {
    const json header = parse_header();
    Directory directory;
    struct Range {
      uint64_t begin, end;
      std::string name;
    };
    std::vector<Range> ranges;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(entry, directory);
        continue;
      }
      ArrayPlace& array = directory.arrays[name];
      Range range{0, 0, name};
      read_entry(name, entry, array, range.begin, range.end);
      array.bytes = data_ + begin_ + range.begin;
      array.size = range.end - range.begin;
      ranges.push_back(range);
    }
    // No holes and no overlaps: every byte belongs to exactly one array.
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
    });
    uint64_t end = 0;
    for (const Range& range : ranges) {
      if (range.begin != end)
        fail("array " + shown_name(range.name), "starts at byte " + std::to_string(range.begin) +
                                                    " of the data instead of " +
                                                    std::to_string(end));
      end = range.end;
    }
    if (end != size_ - begin_)
      fail("data", std::to_string(size_ - begin_ - end) + " bytes belong to no array");
    return directory;
  }

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& what) const {
    throw Error(path_ + ": " + place + ": " + what +
                "; the file is damaged or not a safetensors file");
  }

  json parse_header() {
    if (size_ < length_bytes)
      fail("header", "the file has only " + std::to_string(size_) + " bytes");
    uint64_t length = 0;
    std::memcpy(&length, data_, length_bytes);
    if (length > size_ - length_bytes)
      fail("header", "its length of " + std::to_string(length) + " bytes exceeds the file");
    begin_ = length_bytes + length;
    const uint8_t* text = data_ + length_bytes;
    if (length == 0 || text[0] != '{') fail("header", "does not start with {");
    // The parser would take a zero byte for the end.
    if (std::memchr(text, 0, length) != nullptr) fail("header", "contains a zero byte");
    const std::string excess = json_excess(reinterpret_cast<const char*>(text), length);
    if (!excess.empty()) fail("header", excess);
    json header = json::parse(text, text + length, nullptr, false);
    if (header.is_discarded() || !header.is_object()) fail("header", "is not a JSON object");
    return header;
  }

  void read_metadata(const json& entry, Directory& directory) const {
    if (!entry.is_object()) fail("metadata", "is not a JSON object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("metadata " + shown_name(key), "is not a string");
      directory.metadata[key] = value.get<std::string>();
    }
  }

  void read_entry(const std::string& name, const json& entry, ArrayPlace& array, uint64_t& begin,
                  uint64_t& end) const {
    const std::string place = "array " + shown_name(name);
    const auto is_count = [](const json& value) { return value.is_number_unsigned(); };
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
        !entry.contains("shape") || !entry["shape"].is_array() || !entry.contains("data_offsets") ||
        !entry["data_offsets"].is_array())
      fail(place, "needs dtype, shape and data_offsets");
    const json& offsets = entry["data_offsets"];
    if (offsets.size() != 2 || !is_count(offsets[0]) || !is_count(offsets[1]))
      fail(place, "data_offsets must be two byte counts");
    begin = offsets[0].get<uint64_t>();
    end = offsets[1].get<uint64_t>();
    if (begin > end || end > size_ - begin_)
      fail(place, "bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                      " are not in the file's data of " + std::to_string(size_ - begin_) +
                      " bytes");
    array.type = entry["dtype"].get<std::string>();
    uint64_t bytes = element_bytes(array.type);
    if (bytes == 0) fail(place, "unknown dtype " + shown_name(array.type));
    for (const json& extent : entry["shape"]) {
      if (!is_count(extent)) fail(place, "shape must be a list of counts");
      const auto count = extent.get<uint64_t>();
      // 2^48: more than any file, and the product of it with an element's bytes fits.
      if (count > (uint64_t{1} << 48) || (count > 0 && bytes > (uint64_t{1} << 60) / count))
        fail(place, "its shape is larger than any file");
      bytes *= count;
      array.shape.push_back(static_cast<int64_t>(count));
    }
    if (bytes != end - begin)
      fail(place, "its shape needs " + std::to_string(bytes) + " bytes, it has " +
                      std::to_string(end - begin));
  }

  std::string path_;
  const uint8_t* data_;
  uint64_t size_;
  uint64_t begin_ = 0;  // of the data, behind the header
};

template <typename T>
Array array_of(const char* type, const std::vector<T>& values, std::vector<int64_t> shape) {
  Array array;
  array.type = type;
  array.shape = std::move(shape);
  array.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

template <typename T>
std::vector<T> values_of(const Array& array, const char* type, const std::string& where) {
  if (array.type != type)
    throw Error(where + ": its type is " + array.type + " instead of " + type);
  std::vector<T> values(array.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), array.bytes.data(), values.size() * sizeof(T));
  return values;
}

Container copy(Directory directory) {
  Container container;
  container.metadata = std::move(directory.metadata);
  for (auto& [name, place] : directory.arrays) {
    stop_if_interrupted();
    Array& array = container.arrays[name];
    array.type = std::move(place.type);
    array.shape = std::move(place.shape);
    array.bytes.assign(place.bytes, place.bytes + place.size);
  }
  return container;
}

}  // namespace

Array Array::of(const std::vector<float>& values, std::vector<int64_t> shape) {
  return array_of("F32", values, std::move(shape));
}
Array Array::of(const std::vector<int32_t>& values, std::vector<int64_t> shape) {
  return array_of("I32", values, std::move(shape));
}
Array Array::of(const std::vector<int8_t>& values, std::vector<int64_t> shape) {
  return array_of("I8", values, std::move(shape));
}

std::vector<float> Array::floats(const std::string& where) const {
  return values_of<float>(*this, "F32", where);
}
std::vector<int32_t> Array::integers(const std::string& where) const {
  return values_of<int32_t>(*this, "I32", where);
}
std::vector<int8_t> Array::bytes_signed(const std::string& where) const {
  return values_of<int8_t>(*this, "I8", where);
}

Directory safetensors_directory(const uint8_t* file, uint64_t size, const std::string& name) {
  return Reader(name, file, size).read();
}

Container read_safetensors(const std::string& path) {
  const std::string bytes = read_file(path, most_model_bytes);
  return copy(
      safetensors_directory(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), path));
}

Container parse_safetensors(const std::vector<uint8_t>& file, const std::string& name) {
  return copy(safetensors_directory(file.data(), file.size(), name));
}

std::vector<uint8_t> safetensors_bytes(const Container& container, const std::string& name) {
  // Widest elements first, as the format's own writer does: every array is aligned to its type.
  std::vector<std::pair<std::string, const Array*>> order;
  for (const auto& [name, array] : container.arrays) order.emplace_back(name, &array);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return element_bytes(a.second->type) > element_bytes(b.second->type);
  });
  json header = json::object();
  if (!container.metadata.empty()) header["__metadata__"] = container.metadata;
  uint64_t end = 0;
  for (const auto& [key, array] : order) {
    const uint64_t begin = end;
    end += array->bytes.size();
    header[key] = {{"dtype", array->type}, {"shape", array->shape}, {"data_offsets", {begin, end}}};
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw Error(name + ": cannot write: a name or text in it is not UTF-8; rename it");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::vector<uint8_t> file(length_bytes + text.size() + end);
  const uint64_t length = text.size();
  std::memcpy(file.data(), &length, length_bytes);
  std::memcpy(file.data() + length_bytes, text.data(), text.size());
  uint8_t* next = file.data() + length_bytes + text.size();
  for (const auto& [key, array] : order)
    next = std::copy(array->bytes.begin(), array->bytes.end(), next);
  return file;
}

void write_safetensors(const Container& container, const std::string& path) {
  const std::vector<uint8_t> bytes = safetensors_bytes(container, path);
  write_file_atomically(path, bytes.data(), bytes.size());
}

}  // namespace mattec::ir
