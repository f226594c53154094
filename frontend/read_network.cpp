#include "frontend/read_network.h"

#include "base/error.h"
#include "base/read_file.h"
#include "frontend/networks.h"
#include "frontend/state_dict.h"
#include "frontend/torchscript.h"
#include "frontend/zip.h"
#include "ir/safetensors.h"

namespace mattec::frontend {
namespace {

ir::Graph build(const Weights& weights, const std::string& architecture, const std::string& path) {
  try {
    return build_network(recognise(weights, architecture), weights);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

ir::Graph read_safetensors_network(const std::string& path) {
  const ir::Container container = ir::read_safetensors(path);
  Weights weights;
  for (const auto& [name, array] : container.arrays)
    if (array.type == "F32")
      weights[name] = {array.shape, array.floats(std::string(path).append(": ").append(name))};
  const auto architecture = container.metadata.find("architecture");
  return build(weights, architecture == container.metadata.end() ? "" : architecture->second, path);
}

}  // namespace

ir::Graph read_network(const std::string& path) {
  std::string bytes = read_file(path, most_model_bytes);
  // A safetensors file begins with its header's length and the header's brace.
  if (bytes.size() > 8 && bytes[8] == '{') return read_safetensors_network(path);
  if (bytes.compare(0, 2, "PK") == 0) {
    const ZipArchive archive(std::move(bytes), path);
    if (archive.has(archive.root() + "/constants.pkl")) return read_torchscript(archive);
    if (archive.has(archive.root() + "/data.pkl")) return build(read_state_dict(archive), "", path);
  }
  throw Error(path +
              ": is no network file; expected TorchScript, a PyTorch state dict (zip format, since "
              "PyTorch 1.6) or safetensors");
}

}  // namespace mattec::frontend
