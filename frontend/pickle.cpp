#include "frontend/pickle.h"

#include "base/error.h"

namespace mattec::frontend {
namespace {

using Kind = PickleValue::Kind;

// Instructions: Python's Lib/pickletools.py.
enum Instruction : unsigned char {
  mark = '(',
  stop = '.',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  none = 'N',
  binpersid = 'Q',
  reduce_ = 'R',
  binunicode = 'X',
  empty_tuple = ')',
  build_ = 'b',
  global = 'c',
  binget = 'h',
  long_binget = 'j',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple_ = 't',
  setitems = 'u',
  empty_dict = '}',
  proto = 0x80,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a
};

constexpr const char* ordered_dictionary = "collections OrderedDict";
constexpr const char* rebuild_tensor = "torch._utils _rebuild_tensor_v2";

bool is_storage(const std::string& name) {
  static const std::string prefix = "torch ", suffix = "Storage";
  return name.size() > prefix.size() + suffix.size() && name.compare(0, 6, prefix) == 0 &&
         name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
}

}  // namespace

PickleReader::PickleReader(const std::string& pickle, std::string path)
    : pickle_(pickle), path_(std::move(path)) {}

void PickleReader::refuse(const std::string& why) const {
  throw Error(path_ + ": its pickle " + why +
              "; save the network with torch.save(model.state_dict(), path)");
}

const PickleValue& PickleReader::read() {
  for (;;) {
    const auto instruction = static_cast<unsigned char>(number(1));
    if (instruction == stop) return *pop();
    step(instruction);
  }
}

PickleValue* PickleReader::make(Kind kind) {
  values_.emplace_back();
  values_.back().kind = kind;
  stack_.push_back(&values_.back());
  return stack_.back();
}

PickleValue* PickleReader::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("is damaged");
  PickleValue* value = stack_.back();
  stack_.pop_back();
  return value;
}

std::vector<const PickleValue*> PickleReader::pop_to_mark() {
  if (marks_.empty()) refuse("is damaged");
  const size_t mark_at = marks_.back();
  marks_.pop_back();
  std::vector<const PickleValue*> items(stack_.begin() + static_cast<ptrdiff_t>(mark_at),
                                        stack_.end());
  stack_.resize(mark_at);
  return items;
}

uint64_t PickleReader::number(int size) {
  uint64_t value = 0;
  const std::string raw = bytes(static_cast<uint64_t>(size));
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | static_cast<uint8_t>(raw[static_cast<size_t>(i)]);
  return value;
}

std::string PickleReader::bytes(uint64_t size) {
  if (size > pickle_.size() - at_) refuse("ends too early");
  at_ += size;
  return pickle_.substr(at_ - size, size);
}

std::string PickleReader::line() {
  const size_t end = pickle_.find('\n', at_);
  if (end == std::string::npos) refuse("ends too early");
  std::string text = pickle_.substr(at_, end - at_);
  at_ = end + 1;
  return text;
}

void PickleReader::put(uint64_t key) {
  PickleValue* value = pop();
  stack_.push_back(value);
  memo_[key] = value;
}

void PickleReader::get(uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) refuse("is damaged");
  stack_.push_back(found->second);
}

void PickleReader::tuple(size_t count) {
  std::vector<const PickleValue*> items(count);
  for (size_t i = count; i > 0; --i) items[i - 1] = pop();
  make(Kind::tuple)->items = std::move(items);
}

void PickleReader::integer(int64_t value) { make(Kind::integer)->integer = value; }

// Only names are let in here; nothing is ever looked up or called by them.
void PickleReader::name() {
  const std::string module = line();
  const std::string full = module + " " + line();
  if (full != ordered_dictionary && full != rebuild_tensor && !is_storage(full))
    refuse("refers to '" + full + "', which is no part of a state dict");
  make(Kind::name)->text = full;
}

void PickleReader::reduce() {
  const PickleValue* arguments = pop();
  const PickleValue* function = pop();
  if (function->kind != Kind::name || arguments->kind != Kind::tuple) refuse("is damaged");
  if (function->text == ordered_dictionary && arguments->items.empty()) {
    make(Kind::dictionary);
  } else if (function->text == rebuild_tensor) {
    make(Kind::tensor)->items = arguments->items;
  } else {
    refuse("calls '" + function->text + "'");
  }
}

void PickleReader::set_items(const std::vector<const PickleValue*>& items) {
  PickleValue* dictionary = pop();
  stack_.push_back(dictionary);
  if (dictionary->kind != Kind::dictionary || items.size() % 2) refuse("is damaged");
  for (size_t i = 0; i < items.size(); i += 2)
    dictionary->entries.emplace_back(items[i], items[i + 1]);
}

// Sets attributes of the dictionary object (PyTorch's _metadata); they say nothing about weights.
void PickleReader::build() {
  pop();
  PickleValue* object = pop();
  if (object->kind != Kind::dictionary) refuse("builds an object that is no dictionary");
  stack_.push_back(object);
}

void PickleReader::step(unsigned char instruction) {
  switch (instruction) {
    case proto:
      number(1);
      break;
    case mark:
      marks_.push_back(stack_.size());
      break;
    case none:
      make(Kind::none);
      break;
    case newtrue:
      integer(1);
      break;
    case newfalse:
      integer(0);
      break;
    case binint:
      integer(static_cast<int32_t>(number(4)));
      break;
    case binint1:
      integer(static_cast<int64_t>(number(1)));
      break;
    case binint2:
      integer(static_cast<int64_t>(number(2)));
      break;
    case long1: {
      const int size = static_cast<int>(number(1));
      if (size > 8) refuse("holds a number too large");
      const uint64_t value = number(size);
      const int shift = 64 - 8 * size;  // two's complement of `size` bytes
      integer(size ? static_cast<int64_t>(value << shift) >> shift : 0);
      break;
    }
    case binunicode: {
      const uint64_t size = number(4);
      std::string text = bytes(size);
      make(Kind::text)->text = std::move(text);
      break;
    }
    case empty_tuple:
      tuple(0);
      break;
    case tuple1:
      tuple(1);
      break;
    case tuple2:
      tuple(2);
      break;
    case tuple3:
      tuple(3);
      break;
    case tuple_: {
      std::vector<const PickleValue*> items = pop_to_mark();
      make(Kind::tuple)->items = std::move(items);
      break;
    }
    case empty_dict:
      make(Kind::dictionary);
      break;
    case setitem: {
      const PickleValue* value = pop();
      const PickleValue* key = pop();
      set_items({key, value});
      break;
    }
    case setitems:
      set_items(pop_to_mark());
      break;
    case binput:
      put(number(1));
      break;
    case long_binput:
      put(number(4));
      break;
    case binget:
      get(number(1));
      break;
    case long_binget:
      get(number(4));
      break;
    case global:
      name();
      break;
    case reduce_:
      reduce();
      break;
    case build_:
      build();
      break;
    case binpersid: {
      const PickleValue* identity = pop();
      if (identity->kind != Kind::tuple) refuse("is damaged");
      make(Kind::storage)->items = identity->items;
      break;
    }
    default:
      refuse("uses instruction " + std::to_string(instruction) + " at byte " +
             std::to_string(at_ - 1) + ", which is no part of a state dict");
  }
}

}  // namespace mattec::frontend
