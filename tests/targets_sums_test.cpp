// Convolutions at the limits of what kernels may assume: sums and values at the very ends of 16
// bits, more tensors and larger filters than micro-kernels take.
#include <gtest/gtest.h>

#include <numeric>

#include "ir/verify.h"
#include "tests/compiled_network.h"
#include "tests/ir_graphs.h"

namespace mattec::test {
namespace {

class Limits : public testing::TestWithParam<const char*> {
 protected:
  static void expect_equal_network(const ir::Graph& graph) {
    std::vector<std::vector<uint8_t>> frames(2, std::vector<uint8_t>(size_t{17} * 21 * 3));
    for (size_t i = 0; i < frames[0].size(); ++i) {
      frames[0][i] = static_cast<uint8_t>(i * 37);
      frames[1][i] = static_cast<uint8_t>(i % 5 == 0 ? 255 : i);
    }
    expect_every_tensor(graph, GetParam(), {17, 21}, frames);
  }
};

// A tensor whose values reach `largest`, before they are clamped to 8 bits around 0.
ir::TensorId reaching(GraphMaker& make, float largest) {
  GraphMaker::ConvolutionShape shape;
  shape.activation = ir::Activation::none;
  shape.output_channels = 16;
  const ir::TensorId made =
      make.conv_to({make.graph.frame}, shape, ir::Grid{8, false, {1.0F}, {128}});
  ir::Convolution& conv = make.graph.ops.back().conv;
  conv.weight_bits = 8;
  for (size_t i = 0; i < conv.quantized_weight.size(); ++i)
    conv.quantized_weight[i] = static_cast<int8_t>(i / 3 % 2 == 0 ? 127 : -127);
  conv.quantized_bias.assign(conv.quantized_bias.size(), 0);
  // The frame's zero point is 0: the largest sum is of 3 products.
  conv.accumulator_scale.assign(conv.accumulator_scale.size(), largest / (3 * 127 * 255));
  return made;
}

// Values beyond 16 bits must saturate; those just inside need not, nor those of copies.
TEST_P(Limits, ValuesAroundTheEndsOf16Bits) {
  GraphMaker make(1);
  std::vector<ir::TensorId> values;
  for (const float largest : {31000.0F, 31999.0F, 32001.0F, 32768.0F, 33000.0F, 70000.0F, 4e6F})
    values.push_back(reaching(make, largest));
  std::vector<int> channels(16);
  std::iota(channels.begin(), channels.end(), 0);
  for (const float scale : {16.0F, 1.0F / 300})
    values.push_back(make.take(values[1], channels, ir::Grid{4, false, {scale}, {8}}));
  GraphMaker::ConvolutionShape shape;
  const auto middle = values.begin() + 4;
  const std::vector<ir::TensorId> halves = {make.conv({values.begin(), middle}, shape),
                                            make.conv({middle, values.end()}, shape)};
  make.outputs(make.conv(halves, shape));
  expect_equal_network(make.graph);
}

// Halide makes these sums.
TEST_P(Limits, MoreThanAMicroKernelTakes) {
  GraphMaker make(2);
  make.only_8_bits = true;
  GraphMaker::ConvolutionShape shape;
  std::vector<ir::TensorId> many;
  for (int i = 0; i < 7; ++i) {
    shape.output_channels = 3 + 2 * i;
    many.push_back(make.conv({make.graph.frame}, shape));
  }
  shape.output_channels = 20;
  const ir::TensorId wide = make.conv(many, shape);
  const ir::TensorId narrow = make.conv(many, shape);
  ir::Convolution& conv = make.graph.ops.back().conv;
  conv.weight_bits = 4;
  for (int8_t& weight : conv.quantized_weight) weight = static_cast<int8_t>(weight / 16);
  shape.kernel = 9;
  shape.padding = 4;
  shape.output_channels = 8;
  make.outputs(make.conv({wide, narrow}, shape));
  expect_equal_network(make.graph);
}

INSTANTIATE_TEST_SUITE_P(Targets, Limits, testing::ValuesIn(target_names()), test_name_of);

}  // namespace
}  // namespace mattec::test
