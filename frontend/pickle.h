// A reader for Python's pickle format that builds values and executes nothing.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mattec::frontend {

struct PickleValue {
  // opaque: all that says nothing about weights (None, floats, bytes, lists, sets) and whatever
  // only executed code could make; `text` names it for messages.
  enum class Kind { opaque, integer, text, name, tuple, dictionary, storage, tensor };
  Kind kind = Kind::opaque;
  int64_t integer = 0;                    // integer (booleans too)
  std::string text;                       // text; name: "module attribute"; opaque
  std::vector<const PickleValue*> items;  // tuple; storage and tensor: as pickled
  // dictionary, in the order of insertion; of equal keys the last one counts
  std::vector<std::pair<const PickleValue*, const PickleValue*>> entries;
};

// More than checkpoints of networks here have: one with 500 tensors and its optimizer has 0.5 MB.
constexpr uint64_t most_pickle_bytes = uint64_t{16} << 20;

// Interprets a pickle of protocol 0 to 5. Values live as long as the reader. Memory and time are
// bounded by the pickle's length; no recursion, and values that contain themselves do no harm:
// lists keep nothing, and what reads dictionaries visits each once.
class PickleReader {
 public:
  PickleReader(const std::string& pickle, std::string path);

  // Throws Error naming `path` where the pickle's structure is unsound. Calls of functions and
  // classes become opaque values, but for those of tensors and dictionaries.
  const PickleValue& read();

 private:
  using Values = std::vector<const PickleValue*>;

  PickleValue* make(PickleValue::Kind kind);
  void push(PickleValue* value);
  void push_opaque(const std::string& what);
  void push_name(const std::string& module, const std::string& attribute);
  PickleValue* top();
  PickleValue* pop();
  Values pop_to_mark();
  uint64_t number(int size);
  // A length, then as many bytes.
  uint64_t length(int size);
  std::string bytes(uint64_t size);
  void skip(uint64_t size);
  std::string line();
  void put(uint64_t key);
  void get(uint64_t key);
  void tuple(size_t count);
  void integer(int64_t value);
  void long_integer(uint64_t size);
  void integer_line();
  void text(std::string value);
  void stack_global();
  void call(const PickleValue* function, const PickleValue* arguments);
  void new_object(bool has_keywords);
  void set_items(const Values& items);
  void append(size_t count);
  void build();
  void pop_or_mark();
  // Each takes one instruction of its group, or returns false.
  bool step_number(unsigned char instruction);
  bool step_text(unsigned char instruction);
  bool step_stack(unsigned char instruction);
  bool step_collection(unsigned char instruction);
  bool step_object(unsigned char instruction);
  [[noreturn]] void refuse(const std::string& why) const;

  const std::string& pickle_;
  std::string path_;
  size_t at_ = 0;
  std::deque<PickleValue> values_;  // owns; a deque keeps addresses
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
  std::unordered_map<std::string, PickleValue*> opaque_, names_;  // one value for each text
};

}  // namespace mattec::frontend
