#include "frontend/state_dict.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "frontend/pickle.h"

namespace mattec::frontend {
namespace {

using Kind = PickleValue::Kind;

// More values than any network here has; tensors may share storage, so the file's size is no bound.
constexpr size_t most_values = size_t{1} << 28;

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent ? std::ldexp(1024.0F + static_cast<float>(mantissa), exponent - 25)
                         : std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31)
    value =
        mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return bits & 0x8000 ? -value : value;
}

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

struct ElementType {
  const char* storage;
  size_t size;
  float (*read)(const char*);
};

const ElementType* find_type(const std::string& storage) {
  static const ElementType types[] = {
      {"torch FloatStorage", 4, [](const char* p) { return load<float>(p); }},
      {"torch DoubleStorage", 8, [](const char* p) { return static_cast<float>(load<double>(p)); }},
      {"torch HalfStorage", 2, [](const char* p) { return from_half(load<uint16_t>(p)); }},
      {"torch BFloat16Storage", 2, [](const char* p) {
         const uint32_t bits = uint32_t{load<uint16_t>(p)} << 16;
         return load<float>(reinterpret_cast<const char*>(&bits));
       }}};
  for (const ElementType& type : types)
    if (storage == type.storage) return &type;
  return nullptr;
}

class TensorReader {
 public:
  TensorReader(const ZipArchive& archive, std::string name)
      : archive_(archive), name_(std::move(name)) {}

  // False for integer tensors (counters of the training).
  // items: storage, offset, size, stride, requires_grad, hooks (torch._utils._rebuild_tensor_v2).
  bool read(const PickleValue& tensor, WeightArray& array) const {
    const auto& items = tensor.items;
    if (items.size() < 4 || items[0]->kind != Kind::storage || items[1]->kind != Kind::integer)
      refuse("is damaged");
    // Storage: "storage", its type, its entry, device, element count.
    const auto& storage = items[0]->items;
    if (storage.size() < 5 || storage[1]->kind != Kind::name || storage[2]->kind != Kind::text)
      refuse("is damaged");
    const ElementType* type = find_type(storage[1]->text);
    if (!type) return false;
    array.shape = integers(*items[2]);
    const std::vector<int64_t> stride = integers(*items[3]);
    const std::string bytes = archive_.content(archive_.root() + "/data/" + storage[2]->text);
    gather(*type, bytes, items[1]->integer, stride, array);
    return true;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(archive_.path() + ": tensor '" + name_ + "' " + why +
                "; download or export the file again");
  }

  std::vector<int64_t> integers(const PickleValue& tuple) const {
    std::vector<int64_t> values;
    for (const PickleValue* item : tuple.items) {
      if (item->kind != Kind::integer || item->integer < 0) refuse("has a damaged shape");
      values.push_back(item->integer);
    }
    return values;
  }

  void gather(const ElementType& type, const std::string& bytes, int64_t offset,
              const std::vector<int64_t>& stride, WeightArray& array) const {
    const size_t stored = bytes.size() / type.size;
    if (stride.size() != array.shape.size() || offset < 0) refuse("has a damaged shape");
    // Each extent, stride and the offset checked against the storage: no product can overflow.
    size_t count = 1, last = static_cast<size_t>(offset);
    for (size_t d = 0; d < stride.size(); ++d) {
      const auto extent = static_cast<size_t>(array.shape[d]);
      if (extent == 0 || extent > stored || static_cast<size_t>(stride[d]) > stored)
        refuse("does not fit its storage");
      last += (extent - 1) * static_cast<size_t>(stride[d]);
      count *= extent;
      if (count > stored || last >= stored) refuse("does not fit its storage");
    }
    if (last >= stored) refuse("does not fit its storage");
    array.values.reserve(count);
    std::vector<size_t> index(stride.size(), 0);
    for (size_t i = 0; i < count; ++i) {
      size_t at = static_cast<size_t>(offset);
      for (size_t d = 0; d < index.size(); ++d) at += index[d] * static_cast<size_t>(stride[d]);
      array.values.push_back(type.read(&bytes[at * type.size]));
      for (size_t d = index.size(); d > 0; --d) {
        if (++index[d - 1] < static_cast<size_t>(array.shape[d - 1])) break;
        index[d - 1] = 0;
      }
    }
  }

  const ZipArchive& archive_;
  std::string name_;
};

}  // namespace

Weights read_state_dict(const ZipArchive& archive) {
  const std::string order = archive.root() + "/byteorder";
  if (archive.has(order) && archive.content(order) != "little")
    throw Error(archive.path() + ": was written on a big-endian machine; save it on another one");
  const std::string pickle = archive.content(archive.root() + "/data.pkl");
  PickleReader reader(pickle, archive.path());
  const PickleValue& dictionary = reader.read();
  if (dictionary.kind != Kind::dictionary)
    throw Error(
        archive.path() +
        ": holds no dictionary; save the network with torch.save(model.state_dict(), path)");
  Weights weights;
  size_t total = 0;
  for (const auto& [key, value] : dictionary.entries) {
    if (key->kind != Kind::text || value->kind != Kind::tensor)
      throw Error(archive.path() + ": entry '" + key->text +
                  "' is no tensor; save the network with torch.save(model.state_dict(), path)");
    WeightArray array;
    if (!TensorReader(archive, key->text).read(*value, array)) continue;
    total += array.values.size();
    if (total > most_values) throw Error(archive.path() + ": is too large for a network");
    weights[key->text] = std::move(array);
  }
  return weights;
}

}  // namespace mattec::frontend
