// The safetensors container: named arrays behind a JSON header.
// https://github.com/huggingface/safetensors
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mattec::ir {

struct Array {
  std::string type;  // "F32", "I32", "I8", "U8", ...
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;  // little endian, row major

  static Array of(const std::vector<float>& values, std::vector<int64_t> shape);
  static Array of(const std::vector<int32_t>& values, std::vector<int64_t> shape);
  static Array of(const std::vector<int8_t>& values, std::vector<int64_t> shape);
  // Throw Error naming `where` if the type is another one.
  std::vector<float> floats(const std::string& where) const;
  std::vector<int32_t> integers(const std::string& where) const;
  std::vector<int8_t> bytes_signed(const std::string& where) const;
};

struct Container {
  std::map<std::string, std::string> metadata;
  std::map<std::string, Array> arrays;
};

// An array where it lies in a file in memory.
struct ArrayPlace {
  std::string type;
  std::vector<int64_t> shape;
  const uint8_t* bytes = nullptr;
  uint64_t size = 0;  // bytes
};

// What the header says, every array checked to lie inside the file; nothing is copied. `name`
// stands for the path in messages.
struct Directory {
  std::map<std::string, std::string> metadata;
  std::map<std::string, ArrayPlace> arrays;
};
Directory safetensors_directory(const uint8_t* file, uint64_t size, const std::string& name);

Container read_safetensors(const std::string& path);
// The same from memory; `name` stands for the path in messages.
Container parse_safetensors(const std::vector<uint8_t>& file, const std::string& name);
// Same content gives the same bytes. `name` stands for the path in messages.
std::vector<uint8_t> safetensors_bytes(const Container& container, const std::string& name);
// These bytes in a file, whole or not at all.
void write_safetensors(const Container& container, const std::string& path);

}  // namespace mattec::ir
