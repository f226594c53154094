#include "frontend/read_network.h"

#include <cstring>
#include <fstream>

#include "frontend/networks.h"
#include "ir/error.h"
#include "ir/safetensors.h"

namespace mattec::frontend {
namespace {

// The first bytes of the file, fewer if it is shorter.
std::string beginning_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(path + ": cannot be opened; check the path and its permissions");
  std::string bytes(16, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

ir::Graph read_weights(const std::string& path) {
  const ir::Container container = ir::read_safetensors(path);
  Weights weights;
  for (const auto& [name, array] : container.arrays)
    if (array.type == "F32") weights[name] = {array.shape, array.floats(path + ": " + name)};
  const auto architecture = container.metadata.find("architecture");
  try {
    return build_network(
        recognise(weights, architecture == container.metadata.end() ? "" : architecture->second),
        weights);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

}  // namespace

ir::Graph read_network(const std::string& path) {
  const std::string beginning = beginning_of(path);
  // A safetensors file begins with its header's length and the header's brace.
  if (beginning.size() > 8 && beginning[8] == '{') return read_weights(path);
  throw Error(path +
              ": is no network file; expected TorchScript, a PyTorch state dict (.pth, zip "
              "format) or safetensors");
}

}  // namespace mattec::frontend
