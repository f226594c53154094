#include "frontend/checkpoint.h"

#include <algorithm>
#include <deque>
#include <tuple>
#include <unordered_set>

#include "base/error.h"
#include "base/interrupt.h"
#include "frontend/element_type.h"

namespace mattec::frontend {
namespace {

using Kind = PickleValue::Kind;

// Checkpoints nest three deep at most (trainer, model, part).
constexpr size_t deepest = 8, longest_name = 256, longest_path = 512;
// RVM has 600 tensors, and its optimizer a dictionary for each.
constexpr size_t most_dictionaries = 1 << 16, most_tensors = 1 << 16, most_extents = 8;

bool is_float_tensor(const PickleValue& value) {
  if (value.kind != Kind::tensor || value.items.empty()) return false;
  const PickleValue& storage = *value.items[0];
  return storage.kind == Kind::storage && storage.items.size() > 1 &&
         storage.items[1]->kind == Kind::name && find_element_type(storage.items[1]->text);
}

bool is_name(const PickleValue& key) {
  return key.kind == Kind::text && key.text.size() <= longest_name;
}

TensorDictionary tensors_of(const PickleValue& dictionary) {
  TensorDictionary found;
  std::vector<std::string_view> names;
  for (const auto& [key, value] : dictionary.entries)
    if (is_name(*key) && is_float_tensor(*value)) names.push_back(key->text);
  if (names.empty()) return found;
  found.prefix = common_prefix(names);
  for (const auto& [key, value] : dictionary.entries)
    if (is_name(*key) && key->text.compare(0, found.prefix.size(), found.prefix) == 0)
      found.tensors[key->text.substr(found.prefix.size())] = value;
  return found;
}

// Lower is preferred.
int rank(const std::string& path) {
  if (path.empty()) return 0;
  const std::string name = path.substr(path.rfind('/') + 1);
  int place = 1;
  for (const char* each : {"state_dict", "model_state_dict", "model", "params", "ema"}) {
    if (name == each) return place;
    ++place;
  }
  return place;
}

}  // namespace

std::vector<int64_t> shape_of(const PickleValue& tensor) {
  std::vector<int64_t> shape;
  if (tensor.kind != Kind::tensor || tensor.items.size() < 4 ||
      tensor.items[2]->kind != Kind::tuple || tensor.items[2]->items.size() > most_extents)
    return shape;
  for (const PickleValue* extent : tensor.items[2]->items) {
    if (extent->kind != Kind::integer) return {};
    shape.push_back(extent->integer);
  }
  return shape;
}

Shapes shapes_of(const TensorDictionary& dictionary) {
  Shapes shapes;
  for (const auto& [name, tensor] : dictionary.tensors) shapes[name] = shape_of(*tensor);
  return shapes;
}

std::vector<TensorDictionary> tensor_dictionaries(const PickleValue& root) {
  struct Place {
    const PickleValue* dictionary;
    std::string path;
    size_t depth;
  };
  std::vector<TensorDictionary> found;
  std::unordered_set<const PickleValue*> seen = {&root};
  std::deque<Place> open = {{&root, "", 0}};
  size_t tensor_count = 0;
  for (; !open.empty(); open.pop_front()) {
    stop_if_interrupted();
    const Place place = open.front();
    TensorDictionary tensors = tensors_of(*place.dictionary);
    if (!tensors.tensors.empty()) {
      tensors.path = place.path;
      tensor_count += tensors.tensors.size();
      if (tensor_count > most_tensors) throw Error("holds too many tensors for a network");
      found.push_back(std::move(tensors));
    }
    if (place.depth == deepest || place.path.size() > longest_path) continue;
    const std::string before = place.path.empty() ? "" : place.path + "/";
    for (const auto& [key, value] : place.dictionary->entries)
      if (is_name(*key) && value->kind == Kind::dictionary && seen.insert(value).second)
        open.push_back({value, before + key->text, place.depth + 1});
    if (seen.size() > most_dictionaries) throw Error("holds too many dictionaries for a network");
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(rank(a.path), a.path) < std::make_tuple(rank(b.path), b.path);
  });
  return found;
}

}  // namespace mattec::frontend
