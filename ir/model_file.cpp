#include "ir/model_file.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/fnv1a.h"
#include "base/interrupt.h"
#include "base/staged_path.h"
#include "ir/graph_json.h"
#include "ir/names.h"
#include "ir/verify.h"

namespace mattec::ir {
namespace {

constexpr const char* version = "1";
constexpr const char* damaged = "; the file is damaged or not made by mattec";

// Two weights to a byte, the first in the low half.
Array packed4(const std::vector<int8_t>& weights) {
  Array array;
  array.type = "U8";
  array.bytes.assign((weights.size() + 1) / 2, 0);
  array.shape = {static_cast<int64_t>(array.bytes.size())};
  for (size_t i = 0; i < weights.size(); ++i)
    array.bytes[i / 2] |= static_cast<uint8_t>((weights[i] & 15) << (i % 2 * 4));
  return array;
}

std::vector<int8_t> unpacked4(const std::vector<uint8_t>& bytes, size_t count) {
  std::vector<int8_t> weights(count);
  for (size_t i = 0; i < count; ++i) {
    const int half = bytes[i / 2] >> (i % 2 * 4) & 15;
    weights[i] = static_cast<int8_t>(half < 8 ? half : half - 16);
  }
  return weights;
}

int64_t count_of(const std::vector<float>& values) { return static_cast<int64_t>(values.size()); }

class Unpacker {
 public:
  Unpacker(const Container& container, const std::string& path)
      : container_(container), path_(path) {}

  Graph run() {
    const auto text = container_.metadata.find("graph");
    if (text == container_.metadata.end()) fail("metadata", "the graph is missing");
    Graph graph = graph_from_json(text->second, path_);
    if (graph.stage == Stage::imported) fail("graph", "is neither fused nor quantized");
    for (Tensor& tensor : graph.tensors)
      if (tensor.grid && tensor.grid->scale.empty()) per_channel_grid(tensor);
    for (Op& op : graph.ops)
      if (op.kind == OpKind::conv) weights(graph, op);
    for (const auto& each : container_.arrays)
      if (used_.count(each.first) == 0)
        fail("array " + shown_name(each.first), "belongs to nothing");
    verify(graph, path_);
    return graph;
  }

 private:
  [[noreturn]] void fail(const std::string& place, const std::string& what) const {
    throw Error(path_ + ": " + place + ": " + what + damaged);
  }

  const Array& array(const std::string& name) {
    const auto found = container_.arrays.find(name);
    if (found == container_.arrays.end()) fail("array " + shown_name(name), "is missing");
    used_.insert(name);
    return found->second;
  }
  std::string place(const std::string& name) const { return path_ + ": array " + name; }
  std::vector<float> floats(const std::string& name) { return array(name).floats(place(name)); }
  std::vector<int32_t> integers(const std::string& name) {
    return array(name).integers(place(name));
  }

  void per_channel_grid(Tensor& tensor) {
    tensor.grid->scale = floats(tensor.name + ".scale");
    tensor.grid->zero_point = integers(tensor.name + ".zero_point");
  }

  void weights(const Graph& graph, Op& op) {
    Convolution& conv = op.conv;
    const std::string name = op.name + ".weight";
    if (op.inputs.size() < (conv.has_residual ? 2U : 1U))
      fail("operation " + shown_name(op.name), "reads nothing");
    const std::vector<int64_t> shape = weight_shape(graph, op);
    const Array& stored = array(name);
    if (graph.stage == Stage::fused) {
      if (stored.shape != shape) fail("array " + name, "has not the shape of its operation");
      conv.weight = floats(name);
      conv.bias = floats(op.name + ".bias");
      return;
    }
    if (conv.weight_bits == 4) {
      if (stored.type != "U8")
        fail("array " + name, "its type is " + stored.type + " instead of U8");
      conv.quantized_weight =
          unpacked4(stored.bytes, packed_count(name, shape, stored.bytes.size()));
    } else {
      if (stored.shape != shape) fail("array " + name, "has not the shape of its operation");
      conv.quantized_weight = stored.bytes_signed(place(name));
    }
    conv.quantized_bias = integers(op.name + ".bias");
    conv.accumulator_scale = floats(op.name + ".accumulator_scale");
  }

  // Elements of the shape, which must be what the packed bytes hold.
  size_t packed_count(const std::string& name, const std::vector<int64_t>& shape,
                      size_t bytes) const {
    uint64_t count = 1;
    for (int64_t extent : shape) {
      // No factor above the elements stored: the product of two such cannot leave 64 bits.
      if (extent < 1 || static_cast<uint64_t>(extent) > 2 * bytes || count > 2 * bytes) count = 0;
      count *= static_cast<uint64_t>(extent);
    }
    if (count == 0 || (count + 1) / 2 != bytes)
      fail("array " + name, "has not the size of its operation");
    return count;
  }

  const Container& container_;
  std::string path_;
  std::set<std::string> used_;
};

// Over everything that the file says: any damaged byte changes it.
std::string checksum_of(const Container& container) {
  uint64_t hash = fnv1a(nullptr, 0);
  const auto add = [&](const void* data, size_t size) {
    constexpr size_t block = size_t{1} << 22;
    for (size_t at = 0; at < size; at += block) {
      stop_if_interrupted();
      hash = fnv1a(static_cast<const uint8_t*>(data) + at, std::min(block, size - at), hash);
    }
  };
  const auto add_text = [&](const std::string& text) { add(text.c_str(), text.size() + 1); };
  for (const auto& [key, value] : container.metadata)
    if (key != "checksum") {
      add_text(key);
      add_text(value);
    }
  for (const auto& [name, array] : container.arrays) {
    add_text(name);
    add_text(array.type);
    for (int64_t extent : array.shape) add_text(std::to_string(extent));
    add(array.bytes.data(), array.bytes.size());
  }
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace

Container to_container(const Graph& graph) {
  Container container;
  container.metadata["mattec"] = version;
  container.metadata["graph"] = graph_to_json(graph);
  for (const Tensor& tensor : graph.tensors)
    if (tensor.grid && tensor.grid->per_channel()) {
      const int64_t count = count_of(tensor.grid->scale);
      container.arrays[tensor.name + ".scale"] = Array::of(tensor.grid->scale, {count});
      container.arrays[tensor.name + ".zero_point"] = Array::of(tensor.grid->zero_point, {count});
    }
  for (const Op& op : graph.ops) {
    if (op.kind != OpKind::conv) continue;
    const Convolution& conv = op.conv;
    const std::vector<int64_t> shape = weight_shape(graph, op);
    Array& weight = container.arrays[op.name + ".weight"];
    Array& bias = container.arrays[op.name + ".bias"];
    if (graph.stage == Stage::quantized) {
      weight = conv.weight_bits == 4 ? packed4(conv.quantized_weight)
                                     : Array::of(conv.quantized_weight, shape);
      bias = Array::of(conv.quantized_bias, {conv.output_channels});
      container.arrays[op.name + ".accumulator_scale"] =
          Array::of(conv.accumulator_scale, {conv.output_channels});
    } else {
      weight = Array::of(conv.weight, shape);
      bias = Array::of(conv.bias, {conv.output_channels});
    }
  }
  container.metadata["checksum"] = checksum_of(container);
  return container;
}

Graph from_container(const Container& container, const std::string& path) {
  return Unpacker(container, path).run();
}

Graph read_model(const std::string& path) {
  const Container container = read_safetensors(path);
  const auto found = container.metadata.find("mattec");
  if (found == container.metadata.end())
    throw Error(path + ": metadata: it is no mattec model; make one with mattec quantize");
  if (found->second != version)
    throw Error(path + ": metadata: it has format " + shown_name(found->second) +
                ", this mattec reads format " + version + "; quantize the network again");
  const auto sum = container.metadata.find("checksum");
  if (sum == container.metadata.end() || sum->second != checksum_of(container))
    throw Error(path + ": metadata: the checksum does not match; the file is damaged or was " +
                "edited, quantize the network again");
  return from_container(container, path);
}

std::vector<uint8_t> model_bytes(const Graph& graph, const std::string& path) {
  verify(graph, path);
  if (graph.stage == Stage::imported)
    throw Error(path + ": cannot write: network " + graph.name + " is neither fused nor quantized");
  return safetensors_bytes(to_container(graph), path);
}

void write_model(const Graph& graph, const std::string& path) {
  const std::vector<uint8_t> bytes = model_bytes(graph, path);
  write_file_atomically(path, bytes.data(), bytes.size());
}

}  // namespace mattec::ir
