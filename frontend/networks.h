// The networks that are defined here rather than read from a file: the family of Robust Video
// Matting with a MobileNetV3 encoder (Lin et al., WACV 2022), of any widths.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace mattec::frontend {

// One array of a weight file, row major.
struct WeightArray {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
// By published parameter name: "backbone.features.0.0.weight", ... Batch normalisation may be
// present ("backbone.features.0.1.running_mean", ...) or already folded into the convolution.
using Weights = std::map<std::string, WeightArray>;

// What a file says about its arrays before their values are read.
using Shapes = std::map<std::string, std::vector<int64_t>>;
Shapes shapes_of(const Weights& weights);

// An inverted residual of the encoder: expansion (none where expanded == in), depthwise
// convolution, squeeze-and-excite, projection; residual where stride is 1 and in == out.
struct EncoderBlock {
  int in, kernel, expanded, out;
  bool squeeze_excite;
  ir::Activation activation;
  int stride, dilation;
};

struct NetworkShape {
  std::string name;
  int stem_channels;                    // 3x3, stride 2
  std::vector<EncoderBlock> blocks;     // to 1/16 of the input size
  std::array<int, 3> taps;              // blocks (from 1) that feed the decoder: 1/2, 1/4, 1/8
  int last_channels;                    // 1x1 after the blocks
  int aspp_channels;                    // half of them pass the coarsest GRU
  std::array<int, 4> decoder_channels;  // decode3, decode2, decode1 (half pass a GRU), decode0
  int refiner_channels;
};

NetworkShape rvm_mobilenetv3();
// The network this project trains itself: the same family at about 1/40 of the arithmetic.
NetworkShape nano();
const std::vector<NetworkShape>& known_networks();

struct Parameter {
  std::string name;
  std::vector<int64_t> shape;
};
// What a weight file with folded batch normalisation must hold, in the order of execution.
std::vector<Parameter> parameters(const NetworkShape& shape);

// The imported graph, direct and refined variant, batch normalisation folded, canonical, verified.
// Throws Error naming the first array that is missing or has another shape.
ir::Graph build_network(const NetworkShape& shape, const Weights& weights);

// The parameters that build_network will fetch from arrays of these names, in the order of
// execution.
std::vector<Parameter> needed_parameters(const NetworkShape& shape, const Shapes& arrays);
// Throws Error naming the first of them that is missing or has another shape.
void require_shapes(const std::vector<Parameter>& needed, const NetworkShape& network,
                    const Shapes& arrays);

struct FoundWeights {
  const NetworkShape* network = nullptr;  // of known_networks()
  Weights weights;                        // what the network needs, no more
};

// Which of the known networks the arrays belong to: by `architecture` (a file's metadata; empty =
// unknown), else the one whose parameters the names and shapes match best; null where none does.
const NetworkShape* find_network(const Shapes& arrays, const std::string& architecture);

// The same, but throws Error where none matches, with the way out.
const NetworkShape& recognise(const Shapes& arrays, const std::string& architecture);

// Robust Video Matting with its other encoder, which is not supported.
bool is_rvm_resnet50(const Shapes& arrays);

// What training scripts put before all names of a network ("module.", "model.", "_orig_mod.", one
// after the other): the longest such prefix that all the names have.
std::string common_prefix(const std::vector<std::string_view>& names);

}  // namespace mattec::frontend
