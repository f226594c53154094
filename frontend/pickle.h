// A reader for the subset of Python's pickle format that a state dict consists of.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace mattec::frontend {

struct PickleValue {
  enum class Kind { none, integer, text, name, tuple, dictionary, storage, tensor };
  Kind kind = Kind::none;
  int64_t integer = 0;                    // integer (booleans too)
  std::string text;                       // text; name: "module attribute"
  std::vector<const PickleValue*> items;  // tuple; storage and tensor: as pickled
  std::vector<std::pair<const PickleValue*, const PickleValue*>> entries;  // dictionary
};

// Interprets a pickle (protocol 2). Values live as long as the reader.
class PickleReader {
 public:
  PickleReader(const std::string& pickle, std::string path);

  // Throws Error naming `path` for anything but the subset: other instructions, other names
  // (classes, functions) than those of tensors and dictionaries, unsound structure.
  const PickleValue& read();

 private:
  PickleValue* make(PickleValue::Kind kind);
  PickleValue* pop();
  std::vector<const PickleValue*> pop_to_mark();
  uint64_t number(int size);
  std::string bytes(uint64_t size);
  std::string line();
  void put(uint64_t key);
  void get(uint64_t key);
  void tuple(size_t count);
  void integer(int64_t value);
  void name();
  void reduce();
  void set_items(const std::vector<const PickleValue*>& items);
  void build();
  void step(unsigned char instruction);
  [[noreturn]] void refuse(const std::string& why) const;

  const std::string& pickle_;
  std::string path_;
  size_t at_ = 0;
  std::deque<PickleValue> values_;  // owns; a deque keeps addresses
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::map<uint64_t, PickleValue*> memo_;
};

}  // namespace mattec::frontend
