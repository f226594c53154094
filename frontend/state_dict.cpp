#include "frontend/state_dict.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/text.h"
#include "frontend/checkpoint.h"
#include "frontend/element_type.h"

namespace mattec::frontend {
namespace {

using Kind = PickleValue::Kind;

// What all deflated storages together may unpack to: RVM's weights are 15 MB.
constexpr uint64_t most_unpacked_bytes = uint64_t{128} << 20;

// A tensor of the network, where it lies in its storage.
struct Tensor {
  std::string name;
  std::vector<int64_t> shape;
  size_t offset = 0;
  std::vector<size_t> stride;
};

// A part of the file that several tensors may share.
struct Storage {
  const ElementType* type = nullptr;
  uint64_t count = 0;  // of elements
  std::vector<Tensor> tensors;
};

class Loader {
 public:
  Loader(const ZipArchive& archive, const TensorDictionary& dictionary)
      : archive_(archive), dictionary_(dictionary) {}

  Weights load(const std::vector<Parameter>& parameters) {
    for (const Parameter& parameter : parameters) add(parameter);
    Weights weights;
    uint64_t unpacked = 0;
    for (const auto& [key, storage] : storages_) {
      const std::string entry = archive_.root() + "/data/" + key;
      const std::string& first = storage.tensors.front().name;
      if (archive_.size(entry) != storage.count * storage.type->size)
        refuse(first, "has a storage of " + std::to_string(archive_.size(entry)) +
                          " bytes, its pickle says " + std::to_string(storage.count) + " elements");
      unpacked += archive_.unpacked_size(entry);
      if (unpacked > most_unpacked_bytes) refuse(first, "unpacks to more than a network can need");
      const ZipContent content = archive_.view(entry, most_content_bytes);
      for (const Tensor& tensor : storage.tensors)
        weights[tensor.name] = gather(*storage.type, content.bytes, tensor);
    }
    return weights;
  }

 private:
  static constexpr uint64_t most_content_bytes = uint64_t{1} << 31;

  [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
    throw Error(archive_.path() + ": tensor '" + dictionary_.prefix + name + "' " + printable(why) +
                "; download or export the file again");
  }

  // items: storage, offset, size, stride, requires_grad, hooks (torch._utils._rebuild_tensor_v2),
  // and what changes the values on top: a bit that negates or conjugates them all.
  void add(const Parameter& parameter) {
    const PickleValue& value = *dictionary_.tensors.at(parameter.name);
    const auto& items = value.items;
    if (value.kind != Kind::tensor || items.size() < 4 || items[0]->kind != Kind::storage ||
        items[1]->kind != Kind::integer || items[1]->integer < 0)
      refuse(parameter.name, "is damaged");
    if (items.size() > 6 && (items[6]->kind != Kind::dictionary || !items[6]->entries.empty()))
      refuse(parameter.name, "is a negated or conjugated view; save its clone()");
    // Storage: "storage", its type, its entry, device, element count.
    const auto& parts = items[0]->items;
    if (parts.size() < 5 || parts[1]->kind != Kind::name || parts[2]->kind != Kind::text ||
        parts[4]->kind != Kind::integer || parts[4]->integer < 0 || parts[4]->integer >> 40)
      refuse(parameter.name, "is damaged");
    const ElementType* type = find_element_type(parts[1]->text);
    if (!type)
      refuse(parameter.name, "has type '" + parts[1]->text +
                                 "'; a network's weights are float, double, half or bfloat16");
    Storage& storage = storages_[parts[2]->text];
    const auto count = static_cast<uint64_t>(parts[4]->integer);
    if (storage.type && (storage.type != type || storage.count != count))
      refuse(parameter.name, "shares a storage of another type");
    storage.type = type;
    storage.count = count;
    storage.tensors.push_back({parameter.name, parameter.shape,
                               static_cast<size_t>(items[1]->integer),
                               strides(parameter.name, *items[3])});
  }

  std::vector<size_t> strides(const std::string& name, const PickleValue& tuple) const {
    std::vector<size_t> values;
    for (const PickleValue* item : tuple.items) {
      if (item->kind != Kind::integer || item->integer < 0 || values.size() > 8)
        refuse(name, "has a damaged shape");
      values.push_back(static_cast<size_t>(item->integer));
    }
    return values;
  }

  WeightArray gather(const ElementType& type, std::string_view bytes, const Tensor& tensor) const {
    stop_if_interrupted();
    WeightArray array{tensor.shape, {}};
    const size_t stored = bytes.size() / type.size, dimensions = tensor.shape.size();
    if (tensor.stride.size() != dimensions) refuse(tensor.name, "has a damaged shape");
    // Each extent, stride and the offset checked against the storage: no product can overflow.
    size_t count = 1, last = tensor.offset;
    if (last >= stored) refuse(tensor.name, "does not fit its storage");
    for (size_t d = 0; d < dimensions; ++d) {
      const auto extent = static_cast<size_t>(tensor.shape[d]);
      if (extent == 0 || extent > stored || tensor.stride[d] > stored)
        refuse(tensor.name, "does not fit its storage");
      last += (extent - 1) * tensor.stride[d];
      count *= extent;
      if (last >= stored) refuse(tensor.name, "does not fit its storage");
    }
    array.values.reserve(count);
    std::vector<size_t> index(dimensions, 0);
    for (size_t i = 0; i < count; ++i) {
      size_t at = tensor.offset;
      for (size_t d = 0; d < dimensions; ++d) at += index[d] * tensor.stride[d];
      array.values.push_back(type.read(bytes.data() + at * type.size));
      for (size_t d = dimensions; d > 0; --d) {
        if (++index[d - 1] < static_cast<size_t>(tensor.shape[d - 1])) break;
        index[d - 1] = 0;
      }
    }
    return array;
  }

  const ZipArchive& archive_;
  const TensorDictionary& dictionary_;
  std::map<std::string, Storage> storages_;
};

// What only executing the pickle could make.
void refuse_opaque(const TensorDictionary& dictionary, const std::vector<Parameter>& needed) {
  for (const Parameter& parameter : needed) {
    const auto found = dictionary.tensors.find(parameter.name);
    if (found != dictionary.tensors.end() && found->second->kind == Kind::opaque)
      throw Error("tensor '" + dictionary.prefix + parameter.name + "' is " +
                  printable(found->second->text) +
                  ", and nothing pickled is executed; save the network with "
                  "torch.save(model.state_dict(), path)");
  }
}

std::string shown(const TensorDictionary& dictionary) {
  return dictionary.path.empty() ? "its outermost dictionary" : "'" + dictionary.path + "'";
}

const TensorDictionary& choose(const std::vector<TensorDictionary>& dictionaries,
                               const std::string& path) {
  const TensorDictionary* chosen = nullptr;
  Shapes unsupported;
  std::string others;
  for (const TensorDictionary& dictionary : dictionaries) {
    const Shapes shapes = shapes_of(dictionary);
    const bool is_resnet = is_rvm_resnet50(shapes);
    if (is_resnet) unsupported = shapes;
    if (is_resnet || !find_network(shapes, "")) continue;
    if (chosen)
      others += (others.empty() ? "" : ", ") + shown(dictionary);
    else
      chosen = &dictionary;
  }
  if (!chosen) recognise(unsupported, "");  // throws
  if (!others.empty())
    note(path + ": the network is read from " + shown(*chosen) + ", not from " + others);
  return *chosen;
}

// Which tensors of which dictionary make which network.
struct Choice {
  TensorDictionary dictionary;
  const NetworkShape* network = nullptr;
  std::vector<Parameter> needed;
};

Choice find_weights(const PickleValue& root, const std::string& path) {
  if (root.kind != Kind::dictionary)
    throw Error("holds no dictionary" +
                (root.kind == Kind::opaque ? " but " + printable(root.text) : std::string()) +
                "; save the network with torch.save(model.state_dict(), path)");
  Choice choice;
  choice.dictionary = choose(tensor_dictionaries(root), path);
  const Shapes shapes = shapes_of(choice.dictionary);
  choice.network = find_network(shapes, "");
  choice.needed = needed_parameters(*choice.network, shapes);
  refuse_opaque(choice.dictionary, choice.needed);
  require_shapes(choice.needed, *choice.network, shapes);
  return choice;
}

}  // namespace

FoundWeights read_state_dict(const ZipArchive& archive) {
  constexpr uint64_t longest_order = 16;
  const std::string order = archive.root() + "/byteorder";
  if (archive.has(order) && archive.content(order, longest_order) != "little")
    throw Error(archive.path() + ": was written on a big-endian machine; save it on another one");
  const std::string pickle = archive.content(archive.root() + "/data.pkl", most_pickle_bytes);
  PickleReader reader(pickle, archive.path());
  const PickleValue& root = reader.read();
  Choice choice;
  try {
    choice = find_weights(root, archive.path());
  } catch (const Error& error) {
    throw Error(archive.path() + ": " + error.what());
  }
  return {choice.network, Loader(archive, choice.dictionary).load(choice.needed)};
}

}  // namespace mattec::frontend
