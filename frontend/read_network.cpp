#include "frontend/read_network.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/read_file.h"
#include "frontend/element_type.h"
#include "frontend/networks.h"
#include "frontend/state_dict.h"
#include "frontend/torchscript.h"
#include "frontend/zip.h"
#include "ir/names.h"
#include "ir/safetensors.h"

namespace mattec::frontend {
namespace {

ir::Graph build(const FoundWeights& found, const std::string& path) {
  try {
    return build_network(*found.network, found.weights);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

// By the names without the prefix that all floating-point arrays have; other arrays count things.
std::map<std::string, const ir::ArrayPlace*> weight_arrays(const ir::Directory& directory) {
  std::vector<std::string_view> names;
  for (const auto& [name, array] : directory.arrays)
    if (find_element_type(array.type)) names.push_back(name);
  const std::string prefix = common_prefix(names);
  std::map<std::string, const ir::ArrayPlace*> arrays;
  for (const auto& [name, array] : directory.arrays)
    if (name.compare(0, prefix.size(), prefix) == 0) arrays[name.substr(prefix.size())] = &array;
  return arrays;
}

WeightArray values_of(const ir::ArrayPlace& array, const std::string& name) {
  stop_if_interrupted();
  const ElementType* type = find_element_type(array.type);
  if (!type)
    throw Error("array '" + name + "' has type " + array.type +
                "; weights are read as F32, F16, BF16 or F64, export it as one of them");
  WeightArray read{array.shape, std::vector<float>(array.size / type->size)};
  for (size_t i = 0; i < read.values.size(); ++i)
    read.values[i] = type->read(reinterpret_cast<const char*>(array.bytes) + i * type->size);
  return read;
}

FoundWeights find_weights(const ir::Directory& directory) {
  const auto arrays = weight_arrays(directory);
  Shapes shapes;
  for (const auto& [name, array] : arrays) shapes[name] = array->shape;
  const auto architecture = directory.metadata.find("architecture");
  FoundWeights found;
  found.network =
      &recognise(shapes, architecture == directory.metadata.end() ? "" : architecture->second);
  const std::vector<Parameter> needed = needed_parameters(*found.network, shapes);
  require_shapes(needed, *found.network, shapes);
  for (const Parameter& parameter : needed)
    found.weights[parameter.name] = values_of(*arrays.at(parameter.name), parameter.name);
  return found;
}

ir::Graph read_safetensors_network(const std::string& bytes, const std::string& path) {
  const ir::Directory directory =
      ir::safetensors_directory(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), path);
  FoundWeights found;
  try {
    found = find_weights(directory);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
  return build(found, path);
}

}  // namespace

ir::Graph read_network(const std::string& path) {
  std::string bytes = read_file(path, most_model_bytes);
  // A safetensors file begins with its header's length and the header's brace.
  if (bytes.size() > 8 && bytes[8] == '{') return read_safetensors_network(bytes, path);
  if (bytes.compare(0, 2, "PK") == 0) {
    const ZipArchive archive(std::move(bytes), path);
    if (archive.has(archive.root() + "/constants.pkl")) {
      archive.check_contents();
      ir::Graph graph = read_torchscript(archive);
      graph.name = ir::network_name(graph.name);  // may be the file's
      return graph;
    }
    if (archive.has(archive.root() + "/data.pkl")) return build(read_state_dict(archive), path);
  }
  throw Error(path +
              ": is no network file; expected TorchScript, a PyTorch state dict (zip format, since "
              "PyTorch 1.6) or safetensors");
}

}  // namespace mattec::frontend
