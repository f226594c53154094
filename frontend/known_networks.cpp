// The known networks, and which of them the arrays of a file are.
#include <algorithm>

#include "base/error.h"
#include "frontend/networks.h"

namespace mattec::frontend {
namespace {

using ir::Activation;

// Of known_networks(), in its order; made once.
const std::vector<std::vector<Parameter>>& known_parameters() {
  static const std::vector<std::vector<Parameter>> all = [] {
    std::vector<std::vector<Parameter>> made;
    for (const NetworkShape& network : known_networks()) made.push_back(parameters(network));
    return made;
  }();
  return all;
}

}  // namespace

NetworkShape rvm_mobilenetv3() {
  constexpr Activation relu = Activation::relu, hswish = Activation::hardswish;
  NetworkShape shape;
  shape.name = "rvm-mobilenetv3";
  shape.stem_channels = 16;
  shape.blocks = {{16, 3, 16, 16, false, relu, 1, 1},     {16, 3, 64, 24, false, relu, 2, 1},
                  {24, 3, 72, 24, false, relu, 1, 1},     {24, 5, 72, 40, true, relu, 2, 1},
                  {40, 5, 120, 40, true, relu, 1, 1},     {40, 5, 120, 40, true, relu, 1, 1},
                  {40, 3, 240, 80, false, hswish, 2, 1},  {80, 3, 200, 80, false, hswish, 1, 1},
                  {80, 3, 184, 80, false, hswish, 1, 1},  {80, 3, 184, 80, false, hswish, 1, 1},
                  {80, 3, 480, 112, true, hswish, 1, 1},  {112, 3, 672, 112, true, hswish, 1, 1},
                  {112, 5, 672, 160, true, hswish, 1, 2}, {160, 5, 960, 160, true, hswish, 1, 2},
                  {160, 5, 960, 160, true, hswish, 1, 2}};
  shape.taps = {1, 3, 6};
  shape.last_channels = 960;
  shape.aspp_channels = 128;
  shape.decoder_channels = {80, 40, 32, 16};
  shape.refiner_channels = 16;
  return shape;
}

NetworkShape nano() {
  constexpr Activation relu = Activation::relu, hswish = Activation::hardswish;
  NetworkShape shape;
  shape.name = "mattec-nano";
  shape.stem_channels = 8;
  shape.blocks = {{8, 3, 8, 8, false, relu, 1, 1},      {8, 3, 24, 12, false, relu, 2, 1},
                  {12, 3, 36, 12, false, relu, 1, 1},   {12, 5, 36, 16, true, relu, 2, 1},
                  {16, 3, 64, 24, false, hswish, 2, 1}, {24, 3, 96, 24, false, hswish, 1, 2}};
  shape.taps = {1, 3, 4};
  shape.last_channels = 64;
  shape.aspp_channels = 32;
  shape.decoder_channels = {16, 12, 8, 8};
  shape.refiner_channels = 8;
  return shape;
}

const std::vector<NetworkShape>& known_networks() {
  static const std::vector<NetworkShape> networks = {rvm_mobilenetv3(), nano()};
  return networks;
}

const NetworkShape* find_network(const Shapes& arrays, const std::string& architecture) {
  const NetworkShape* best = nullptr;
  size_t best_count = 0;
  for (size_t i = 0; i < known_networks().size(); ++i) {
    const NetworkShape& network = known_networks()[i];
    if (network.name == architecture) return &network;
    // One array in five: names alone ("conv.weight") match by chance, names and shapes do not.
    const std::vector<Parameter>& wanted = known_parameters()[i];
    if (arrays.size() * 5 < wanted.size()) continue;
    size_t count = 0;
    for (const Parameter& parameter : wanted) {
      const auto found = arrays.find(parameter.name);
      count += found != arrays.end() && found->second == parameter.shape;
    }
    if (count * 5 < wanted.size() || count <= best_count) continue;
    best = &network;
    best_count = count;
  }
  return best;
}

bool is_rvm_resnet50(const Shapes& arrays) {
  const auto has = [&](const char* name) { return arrays.count(name) > 0; };
  return has("backbone.conv1.weight") && has("backbone.layer1.0.conv1.weight") &&
         (has("project_mat.conv.weight") || has("aspp.aspp1.0.weight"));
}

const NetworkShape& recognise(const Shapes& arrays, const std::string& architecture) {
  const bool resnet = is_rvm_resnet50(arrays);
  const NetworkShape* found = resnet ? nullptr : find_network(arrays, architecture);
  if (found) return *found;
  std::string names;
  for (const NetworkShape& network : known_networks())
    names += (names.empty() ? "" : ", ") + network.name;
  if (resnet)
    throw Error(
        "is Robust Video Matting with ResNet50 (rvm_resnet50), whose encoder is not "
        "supported, in no format (supported: " +
        names + "); take the weights of rvm_mobilenetv3");
  throw Error("its arrays are those of no known network (known: " + names +
              "); export other networks with torch.jit.script");
}

std::string common_prefix(const std::vector<std::string_view>& names) {
  std::string prefix;
  for (bool longer = !names.empty(); longer;) {
    longer = false;
    for (const char* part : {"module.", "model.", "_orig_mod."}) {
      const std::string candidate = prefix + part;
      if (!std::all_of(names.begin(), names.end(), [&](std::string_view name) {
            return name.compare(0, candidate.size(), candidate) == 0;
          }))
        continue;
      prefix = candidate;
      longer = true;
      break;
    }
  }
  return prefix;
}

}  // namespace mattec::frontend
