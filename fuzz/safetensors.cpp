// Weight files of safetensors' format, through the reader of networks.
#include "ir/safetensors.h"

#include <map>

#include "base/error.h"
#include "frontend/weight_file.h"
#include "fuzz/fuzz.h"

namespace {

using mattec::frontend::Parameter;

std::string file_of(const std::string& prefix, const std::string& type, size_t bytes_each) {
  mattec::ir::Container container;
  for (const Parameter& parameter : parameters(mattec::frontend::nano())) {
    mattec::ir::Array& array = container.arrays[prefix + parameter.name];
    array.type = type;
    array.shape = parameter.shape;
    size_t count = bytes_each;
    for (int64_t extent : parameter.shape) count *= static_cast<size_t>(extent);
    array.bytes.assign(count, 0);
  }
  const std::vector<uint8_t> bytes = mattec::ir::safetensors_bytes(container, "seed");
  return {bytes.begin(), bytes.end()};
}

// Few arrays: the header is most of it.
std::string small_file() {
  mattec::ir::Container container;
  container.metadata["architecture"] = "mattec-nano";
  container.arrays["aspp.aspp1.0.bias"] = mattec::ir::Array::of(std::vector<float>(4), {4});
  const std::vector<uint8_t> bytes = mattec::ir::safetensors_bytes(container, "seed");
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {small_file(), file_of("", "F16", 2), file_of("module.", "F32", 4)};
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    build_network(mattec::frontend::read_safetensors_weights(bytes, "file"), "file");
  } catch (const mattec::Error&) {
    // One clear error.
  }
  return 0;
}
