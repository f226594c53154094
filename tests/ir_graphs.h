// Graphs for tests: one small sound example, and random ones that use every operation of the
// integer engine.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::test {

// Builds quantized graphs whose integers spread over their grids, so that a wrong rounding,
// order or index shows.
class GraphMaker {
 public:
  explicit GraphMaker(uint32_t seed);

  struct ConvolutionShape {
    int kernel = 1, stride = 1, padding = 0, dilation = 1;
    bool depthwise = false;
    int output_channels = 8;
    ir::Activation activation = ir::Activation::relu;
    ir::TensorId residual = ir::no_tensor;
    bool random_pad_value = false;
  };

  int uniform(int low, int high);  // both ends included
  float real(float low, float high);
  template <typename T>
  T pick(std::vector<T> of) {
    return of[static_cast<size_t>(uniform(0, static_cast<int>(of.size()) - 1))];
  }

  // A random unsigned grid; zero point 0 if `from_zero`.
  ir::Grid grid(int channels, bool from_zero);
  ir::TensorId conv(const std::vector<ir::TensorId>& segments, const ConvolutionShape& shape);
  ir::TensorId conv_to(const std::vector<ir::TensorId>& segments, const ConvolutionShape& shape,
                       ir::Grid out);
  ir::TensorId op(ir::OpKind kind, const std::vector<ir::TensorId>& inputs, ir::Grid out);
  ir::TensorId slice(ir::TensorId input, int first_channel, int channels);
  // A requantize of these channels of the input.
  ir::TensorId take(ir::TensorId input, const std::vector<int>& channels, ir::Grid out);
  ir::TensorId state(int channels);
  // The gated update of a recurrent state: reads x and the state, closes the loop. Returns the new
  // state's copy. Unless `only_8_bits`, the state may have a 4-bit copy, an 8-bit one, or both: one
  // for the convolutions, the other one to return.
  ir::TensorId recurrent(ir::TensorId x, ir::TensorId state);
  // fgr (frame added as residual) and pha, rounded down, from a tensor of the frame's size.
  void outputs(ir::TensorId x);
  const ir::Grid& grid_of(ir::TensorId id) const { return *graph.tensor(id).grid; }
  int channels_of(ir::TensorId id) const { return graph.tensor(id).channels; }

  ir::Graph graph;
  bool only_8_bits = false;  // of activations and weights; else 4 as well
  int largest_shift = 4;     // of a convolution's segments

 private:
  std::string fresh(const std::string& what);

  std::mt19937 random_;
  int count_ = 0;
};

// The same grid for every seed-independent use.
ir::Grid unit_grid();       // u8, scale 1/255, zero point 0
ir::Grid state_grid();      // s16, scale 2^-15
ir::Grid candidate_grid();  // u8, scale 2^-7, zero point 128
ir::Grid narrow_grid();     // u4, scale 2^-3, zero point 8: a state's 4-bit copy

// Encoder, squeeze-and-excitation, skip connections, recurrent state, decoder: a small RVM.
ir::Graph random_graph(uint32_t seed);

}  // namespace mattec::test
