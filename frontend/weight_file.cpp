#include "frontend/weight_file.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "frontend/element_type.h"
#include "ir/safetensors.h"

namespace mattec::frontend {
namespace {

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

}  // namespace

FoundWeights read_safetensors_weights(const std::string& bytes, const std::string& path) {
  const ir::Directory directory =
      ir::safetensors_directory(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), path);
  try {
    return find_weights(directory);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

ir::Graph build_network(const FoundWeights& found, const std::string& path) {
  try {
    return build_network(*found.network, found.weights);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

ArchiveKind kind_of(const ZipArchive& archive) {
  const std::string root = archive.root();
  if (archive.has(root + "/constants.pkl")) return ArchiveKind::torchscript;
  return archive.has(root + "/data.pkl") ? ArchiveKind::state_dict : ArchiveKind::other;
}

}  // namespace mattec::frontend
