#include "frontend/pickle.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/interrupt.h"

namespace mattec::frontend {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t most_values = size_t{1} << 20;  // on the stack, in the memo and in all
constexpr size_t longest_name = 256;             // of modules and classes
constexpr size_t most_names = 4096;

bool is_one_of(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* each) { return name == each; });
}

bool is_dictionary_class(const std::string& name) {
  return is_one_of(name, {"collections OrderedDict", "collections defaultdict", "builtins dict",
                          "__builtin__ dict"});
}

bool rebuilds_tensor(const std::string& name) {
  return is_one_of(name, {"torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"});
}

// These hand on their first argument.
bool wraps_tensor(const std::string& name) {
  return is_one_of(name,
                   {"torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state",
                    "torch.nn.parameter Parameter"});
}

}  // namespace

PickleReader::PickleReader(const std::string& pickle, std::string path)
    : pickle_(pickle), path_(std::move(path)) {}

void PickleReader::refuse(const std::string& why) const {
  throw Error(path_ + ": its pickle " + why +
              "; save the network with torch.save(model.state_dict(), path)");
}

PickleValue* PickleReader::make(Kind kind) {
  if (values_.size() >= most_values) refuse("holds too many values for a network");
  values_.emplace_back();
  values_.back().kind = kind;
  return &values_.back();
}

void PickleReader::push(PickleValue* value) {
  if (stack_.size() >= most_values) refuse("holds too many values for a network");
  stack_.push_back(value);
}

void PickleReader::push_opaque(const std::string& what) {
  PickleValue*& value = opaque_[what];
  if (!value) {
    if (opaque_.size() > most_names) refuse("refers to too many names");
    value = make(Kind::opaque);
    value->text = what;
  }
  push(value);
}

// Only a name: nothing is ever looked up or called by it.
void PickleReader::push_name(const std::string& module, const std::string& attribute) {
  if (module.size() > longest_name || attribute.size() > longest_name)
    refuse("refers to an overlong name");
  const std::string full = module + " " + attribute;
  PickleValue*& value = names_[full];
  if (!value) {
    if (names_.size() > most_names) refuse("refers to too many names");
    value = make(Kind::name);
    value->text = full;
  }
  push(value);
}

PickleValue* PickleReader::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("is damaged");
  return stack_.back();
}

PickleValue* PickleReader::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

PickleReader::Values PickleReader::pop_to_mark() {
  if (marks_.empty()) refuse("is damaged");
  const size_t mark_at = marks_.back();
  marks_.pop_back();
  Values items(stack_.begin() + static_cast<ptrdiff_t>(mark_at), stack_.end());
  stack_.resize(mark_at);
  return items;
}

uint64_t PickleReader::number(int size) {
  if (static_cast<uint64_t>(size) > pickle_.size() - at_) refuse("ends too early");
  uint64_t value = 0;
  for (int i = size - 1; i >= 0; --i)
    value = value << 8 | static_cast<uint8_t>(pickle_[at_ + static_cast<size_t>(i)]);
  at_ += static_cast<size_t>(size);
  return value;
}

uint64_t PickleReader::length(int size) {
  const uint64_t value = number(size);
  if (value > pickle_.size() - at_) refuse("ends too early");
  return value;
}

std::string PickleReader::bytes(uint64_t size) {
  if (size > pickle_.size() - at_) refuse("ends too early");
  at_ += size;
  return pickle_.substr(at_ - size, size);
}

void PickleReader::skip(uint64_t size) {
  if (size > pickle_.size() - at_) refuse("ends too early");
  at_ += size;
}

std::string PickleReader::line() {
  const size_t end = pickle_.find('\n', at_);
  if (end == std::string::npos) refuse("ends too early");
  std::string text = pickle_.substr(at_, end - at_);
  at_ = end + 1;
  return text;
}

void PickleReader::put(uint64_t key) {
  memo_[key] = top();
  if (memo_.size() > most_values) refuse("holds too many values for a network");
}

void PickleReader::get(uint64_t key) {
  const auto found = memo_.find(key);
  if (found == memo_.end()) refuse("is damaged");
  push(found->second);
}

void PickleReader::tuple(size_t count) {
  Values items(count);
  for (size_t i = count; i > 0; --i) items[i - 1] = pop();
  PickleValue* made = make(Kind::tuple);
  made->items = std::move(items);
  push(made);
}

void PickleReader::integer(int64_t value) {
  PickleValue* made = make(Kind::integer);
  made->integer = value;
  push(made);
}

// Two's complement of `size` bytes. Longer ones are seeds of random numbers and the like.
void PickleReader::long_integer(uint64_t size) {
  if (size > 8) {
    skip(size);
    push_opaque("a long integer");
    return;
  }
  const uint64_t value = number(static_cast<int>(size));
  const auto shift = static_cast<int>(64 - 8 * size);
  integer(size ? static_cast<int64_t>(value << shift) >> shift : 0);
}

// "12", "12L", and "00" and "01" for booleans.
void PickleReader::integer_line() {
  const std::string digits = line();
  if (digits.empty() || digits.find_first_not_of("+-0123456789L") != std::string::npos)
    refuse("is damaged");
  if (digits.size() > 19) return push_opaque("a long integer");
  integer(std::strtoll(digits.c_str(), nullptr, 10));
}

void PickleReader::text(std::string value) {
  PickleValue* made = make(Kind::text);
  made->text = std::move(value);
  push(made);
}

void PickleReader::stack_global() {
  const PickleValue* attribute = pop();
  const PickleValue* module = pop();
  if (attribute->kind != Kind::text || module->kind != Kind::text) refuse("is damaged");
  push_name(module->text, attribute->text);
}

void PickleReader::call(const PickleValue* function, const PickleValue* arguments) {
  if (arguments->kind != Kind::tuple) refuse("is damaged");
  const std::string& name = function->text;
  if (function->kind != Kind::name) {
    if (function->kind != Kind::opaque) refuse("is damaged");
    push_opaque(name);
  } else if (is_dictionary_class(name)) {
    push(make(Kind::dictionary));
  } else if (rebuilds_tensor(name)) {
    PickleValue* made = make(Kind::tensor);
    made->items = arguments->items;
    push(made);
  } else if ((wraps_tensor(name) && !arguments->items.empty()) ||
             (name == "torch Size" && arguments->items.size() == 1)) {
    push(const_cast<PickleValue*>(arguments->items[0]));  // a value of ours
  } else {
    push_opaque("a result of '" + name + "'");
  }
}

void PickleReader::new_object(bool has_keywords) {
  if (has_keywords) pop();
  const PickleValue* arguments = pop();
  call(pop(), arguments);
}

void PickleReader::set_items(const Values& items) {
  PickleValue* dictionary = top();
  if (items.size() % 2) refuse("is damaged");
  if (dictionary->kind == Kind::opaque) return;  // of a class that only looks like one
  if (dictionary->kind != Kind::dictionary) refuse("is damaged");
  for (size_t i = 0; i < items.size(); i += 2)
    dictionary->entries.emplace_back(items[i], items[i + 1]);
}

// To a list or a set, which keep nothing here.
void PickleReader::append(size_t count) {
  for (size_t i = 0; i < count; ++i) pop();
  if (top()->kind != Kind::opaque) refuse("is damaged");
}

// Sets attributes (PyTorch's _metadata); they say nothing about weights.
void PickleReader::build() {
  pop();
  const Kind kind = top()->kind;
  if (kind != Kind::opaque && kind != Kind::dictionary && kind != Kind::tensor)
    refuse("is damaged");
}

void PickleReader::pop_or_mark() {
  if (!marks_.empty() && marks_.back() == stack_.size())
    marks_.pop_back();
  else
    pop();
}

const PickleValue& PickleReader::read() {
  constexpr unsigned char stop = '.';
  for (;;) {
    stop_if_interrupted();
    const size_t place = at_;
    const auto instruction = static_cast<unsigned char>(number(1));
    if (instruction == stop) return *pop();
    if (!step_number(instruction) && !step_text(instruction) && !step_stack(instruction) &&
        !step_collection(instruction) && !step_object(instruction))
      refuse("has instruction " + std::to_string(instruction) + " at byte " +
             std::to_string(place) + ", which torch.save does not write");
  }
}

}  // namespace mattec::frontend
