#include "nano/embedded.h"

#include "frontend/networks.h"
#include "ir/safetensors.h"

namespace mattec::nano {

ir::Graph nano_network() {
  const std::string name = "embedded nano.safetensors";
  const ir::Container container =
      ir::parse_safetensors({weight_file, weight_file + weight_file_size}, name);
  frontend::Weights weights;
  for (const auto& [parameter, array] : container.arrays) {
    weights[parameter] = {array.shape, array.floats(parameter)};
  }
  return frontend::build_network(frontend::nano(), weights);
}

}  // namespace mattec::nano
