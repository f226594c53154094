// The verifier: sound graphs pass, and each single violation is found and named.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "ir/names.h"
#include "ir/verify.h"
#include "tests/ir_graphs.h"
#include "tests/ir_violations.h"

namespace mattec::ir {
namespace {

TEST(Verify, RandomGraphsAreSound) {
  for (uint32_t seed = 0; seed < 200; ++seed)
    ASSERT_EQ(violations(test::random_graph(seed)), std::vector<std::string>{}) << "seed " << seed;
}

// A graph with one of everything, its tensors and operations by number.
struct Example {
  Graph graph;
  size_t stem = 0, depthwise = 0, pool = 0, gate = 0, mul = 0, project = 0, half = 0,
         requantize = 0, slice = 0, blend = 0, up = 0, decode = 0, fgr = 0;
  Op& op(size_t index) { return graph.ops[index]; }
  Convolution& conv(size_t index) { return graph.ops[index].conv; }
  Grid& grid(TensorId id) { return *graph.tensor(id).grid; }
  Grid& out(size_t index) { return grid(graph.ops[index].output); }
};

Example example() {
  test::GraphMaker make(7);
  test::GraphMaker::ConvolutionShape shape;
  const Grid from_zero{8, false, {0.02F}, {0}};
  const Grid affine{8, false, {0.03F}, {90}};
  Example made;
  const auto last = [&] { return make.graph.ops.size() - 1; };
  shape.kernel = 3;
  shape.padding = 1;
  const TensorId stem = make.conv_to({make.graph.frame}, shape, from_zero);
  make.graph.ops.back().conv.pad_value = {0.5F, 0.5F, 0.5F};
  made.stem = last();
  shape.depthwise = true;
  const TensorId deep = make.conv_to({stem}, shape, from_zero);
  made.depthwise = last();
  const TensorId pool = make.op(OpKind::global_avg_pool, {deep}, affine);
  made.pool = last();
  shape = {};
  shape.activation = Activation::hardsigmoid;
  const TensorId gate = make.conv_to({pool}, shape, test::unit_grid());
  made.gate = last();
  const TensorId mul = make.op(OpKind::mul, {deep, gate}, affine);
  made.mul = last();
  shape.activation = Activation::none;
  shape.residual = stem;
  const TensorId project = make.conv_to({mul}, shape, affine);
  made.project = last();
  const TensorId half = make.op(OpKind::avg_pool2, {project}, affine);
  made.half = last();
  const TensorId slice = make.slice(half, 2, 4);
  made.slice = last();
  const TensorId state = make.recurrent(slice, make.state(4));
  made.requantize = last();
  made.blend = last() - 1;
  const TensorId up = make.op(OpKind::upsample2, {state, project}, make.grid_of(state));
  made.up = last();
  shape.residual = no_tensor;
  shape.activation = Activation::relu;
  const TensorId decode = make.conv_to({up, project}, shape, from_zero);
  made.decode = last();
  make.graph.ops.back().conv.segment_shift = {0, 2};
  make.outputs(decode);
  made.fgr = last() - 1;
  made.graph = make.graph;
  return made;
}

struct Violation {
  const char* expected;  // the violation that must be reported
  std::function<void(Example&)> break_it;
};

void run(const std::vector<Violation>& list) {
  for (const Violation& violation : list) {
    Example broken = example();
    violation.break_it(broken);
    expect_found(broken.graph, violation.expected);
  }
}

// Names go into C headers, reports and terminals.
TEST(Verify, Names) {
  for (const char* name :
       {"*/ int main(void){} /*", "", "1st", "-x", "a b", "a\n", "\x1b[2J", "a\"b"})
    expect_found(
        [&] {
          Graph graph = example().graph;
          graph.name = name;
          return graph;
        }(),
        "its name must be a letter or _, then letters, digits, _ . and -");
  run({
      {"state */: its name must be a letter", [](Example& e) { e.graph.states[0].name = "*/"; }},
      {"its name must be a letter", [](Example& e) { e.graph.states[0].name = "r.1"; }},
      {"its name must be a letter", [](Example& e) { e.graph.outputs[0].name = "p-a"; }},
      {"unsafe characters", [](Example& e) { e.op(e.mul).name = "a*/b"; }},
      {"unsafe characters", [](Example& e) { e.op(e.mul).name = "a\\"; }},
      {"unsafe characters", [](Example& e) { e.graph.tensors[2].name = "\xc2\x9b"; }},
      {"xxx...: its name is", [](Example& e) { e.op(e.mul).name = std::string(100000, 'x'); }},
  });
  Graph graph = example().graph;
  graph.name = "Rvm-mobilenet_v3.w8a8";
  graph.ops[0].name = "backbone.features[0]/conv:1 (stem)";
  EXPECT_EQ(violations(graph), std::vector<std::string>{});
}

TEST(Names, OfFilesBecomeLegal) {
  EXPECT_EQ(network_name("rvm-mobilenetv3"), "rvm-mobilenetv3");
  EXPECT_EQ(network_name("*/ int main(void){} /*"), "_int_main_void_");
  EXPECT_EQ(network_name("caf\xc3\xa9 (1)"), "caf_1_");
  EXPECT_EQ(network_name("2024.net"), "_2024.net");
  EXPECT_EQ(network_name(""), "network");
  EXPECT_EQ(network_name("\xff"), "_");
  for (const std::string& text : {std::string(500, '7'), std::string(1, '\0'), std::string("..")})
    EXPECT_TRUE(is_network_name(network_name(text))) << text;
}

TEST(Verify, TheExampleIsSound) {
  EXPECT_EQ(violations(example().graph), std::vector<std::string>{});
}

TEST(Verify, Structure) {
  run({
      {"tensor orphan: nothing makes it",
       [](Example& e) {
         const TensorId id = e.graph.add_tensor("orphan", 3);
         e.graph.tensor(id).grid = test::unit_grid();
       }},
      {"frame: tensor -1 does not exist", [](Example& e) { e.graph.frame = no_tensor; }},
      {"frame: tensor 9999 does not exist", [](Example& e) { e.graph.frame = 9999; }},
      {"frame: must have 3 channels",
       [](Example& e) { e.graph.tensor(e.graph.frame).channels = 4; }},
      {"is made twice", [](Example& e) { e.op(e.mul).output = e.op(e.pool).output; }},
      {"is made twice", [](Example& e) { e.op(e.mul).output = e.graph.frame; }},
      {": tensor 700 does not exist", [](Example& e) { e.op(e.mul).output = 700; }},
      {"input tensor 700 does not exist", [](Example& e) { e.op(e.mul).inputs[0] = 700; }},
      {"input tensor -5 does not exist", [](Example& e) { e.op(e.mul).inputs[1] = -5; }},
      {"before it is made", [](Example& e) { e.op(e.stem).inputs[0] = e.op(e.decode).output; }},
      {"before it is made", [](Example& e) { std::swap(e.op(e.stem), e.op(e.depthwise)); }},
      {"name is not unique", [](Example& e) { e.graph.tensors[2].name = e.graph.tensors[3].name; }},
      {"its name is empty", [](Example& e) { e.graph.tensors[2].name = ""; }},
      {"unsafe characters", [](Example& e) { e.graph.tensors[2].name = "a\nb"; }},
      {": name is not unique", [](Example& e) { e.op(e.mul).name = e.op(e.pool).name; }},
      {"empty, overlong", [](Example& e) { e.op(e.mul).name = std::string(513, 'x'); }},
      {"0 channels", [](Example& e) { e.graph.tensors[2].channels = 0; }},
      {"-8 channels", [](Example& e) { e.graph.tensors[2].channels = -8; }},
      {"2000000000 channels", [](Example& e) { e.graph.tensors[2].channels = 2000000000; }},
      {"is not allowed in a graph that is quantized",
       [](Example& e) { e.op(e.half).kind = OpKind::activation; }},
      {"is not allowed in a graph that is quantized",
       [](Example& e) { e.op(e.half).kind = OpKind::downsample; }},
      {"requantize is not allowed in a graph that is imported",
       [](Example& e) { e.graph.stage = Stage::imported; }},
      {"inputs are not what", [](Example& e) { e.op(e.half).inputs.clear(); }},
      {"inputs are not what",
       [](Example& e) { e.op(e.half).inputs.push_back(e.op(e.half).inputs[0]); }},
      {"inputs are not what", [](Example& e) { e.op(e.mul).inputs.pop_back(); }},
      {"inputs are not what", [](Example& e) { e.op(e.project).inputs.pop_back(); }},
      {"inputs are not what", [](Example& e) { e.op(e.decode).inputs.clear(); }},
      {"has no outputs", [](Example& e) { e.graph.outputs.clear(); }},
      {"output pha: its tensor does not exist",
       [](Example& e) { e.graph.outputs[1].tensor = 800; }},
      {"output fgr: name is not unique", [](Example& e) { e.graph.outputs[1].name = "fgr"; }},
      {"alpha must have 1 channel", [](Example& e) { e.graph.outputs[0].name = "pha"; }},
      {"foreground must have 3 channels", [](Example& e) { e.graph.outputs[1].name = "fgr"; }},
      {"its output does not exist", [](Example& e) { e.graph.states[0].output = no_tensor; }},
      {"not made by an operation", [](Example& e) { e.graph.states[0].output = e.graph.frame; }},
      {"channels of input and output differ",
       [](Example& e) { e.graph.states[0].output = e.op(e.half).output; }},
      {"grids of input and output differ",
       [](Example& e) { e.graph.states[0].output = e.op(e.requantize).output; }},
      {"is made twice", [](Example& e) { e.graph.states.push_back(e.graph.states[0]); }},
  });
}

TEST(Verify, Attributes) {
  run({
      {"kernel must be", [](Example& e) { e.conv(e.stem).kernel = 0; }},
      {"kernel must be", [](Example& e) { e.conv(e.stem).kernel = 1 << 30; }},
      {"kernel must be", [](Example& e) { e.conv(e.stem).stride = 0; }},
      {"kernel must be", [](Example& e) { e.conv(e.stem).padding = -1; }},
      {"kernel must be", [](Example& e) { e.conv(e.stem).dilation = 0; }},
      {"output_channels differs", [](Example& e) { e.conv(e.stem).output_channels = 7; }},
      {"a depthwise conv takes one segment", [](Example& e) { e.conv(e.decode).depthwise = true; }},
      {"channels of the residual", [](Example& e) { e.op(e.project).inputs[1] = e.graph.frame; }},
      {"a residual cannot be added before hardswish",
       [](Example& e) { e.op(e.project).activation = Activation::hardswish; }},
      {"only a conv has a residual", [](Example& e) { e.conv(e.mul).has_residual = true; }},
      {"has an activation", [](Example& e) { e.op(e.mul).activation = Activation::relu; }},
      {"only a conv can round down", [](Example& e) { e.op(e.mul).rounding = Rounding::down; }},
      {"pad_value", [](Example& e) { e.conv(e.stem).pad_value.pop_back(); }},
      {"pad_value", [](Example& e) { e.conv(e.stem).pad_value[1] = not_a_number; }},
      {"channels of", [](Example& e) { e.op(e.mul).inputs[1] = e.graph.frame; }},
      {"lists channels",
       [](Example& e) {
         e.op(e.half).channels = {0, 1};
       }},
      {"another number of channels",
       [](Example& e) {
         e.op(e.requantize).channels = {3, 1};
       }},
      {"channel 3 is taken twice or not",
       [](Example& e) {
         e.op(e.requantize).channels = {3, 1, 0, 3};
       }},
      {"channel 4 is taken twice or not",
       [](Example& e) {
         e.op(e.requantize).channels = {0, 1, 2, 4};
       }},
      {"channel -1 is taken twice or not",
       [](Example& e) {
         e.op(e.requantize).channels = {-1, 1, 2, 0};
       }},
      {"are not in its input", [](Example& e) { e.op(e.slice).first_channel = 5; }},
      {"are not in its input", [](Example& e) { e.op(e.slice).first_channel = -1; }},
      {"are not in its input", [](Example& e) { e.op(e.slice).first_channel = 2147483647; }},
  });
}

TEST(Verify, Grids) {
  run({
      {"has no grid", [](Example& e) { e.graph.tensors[3].grid.reset(); }},
      {"a grid must be u4, u8 or s16", [](Example& e) { e.out(e.mul).bits = 16; }},
      {"a grid must be u4, u8 or s16", [](Example& e) { e.out(e.mul).bits = 0; }},
      {"a grid must be u4, u8 or s16", [](Example& e) { e.out(e.mul).is_signed = true; }},
      {"one scale and zero point", [](Example& e) { e.out(e.mul).scale.clear(); }},
      {"one scale and zero point",
       [](Example& e) {
         e.out(e.mul).scale = {1, 1, 1};
       }},
      {"one scale and zero point",
       [](Example& e) {
         e.out(e.mul).zero_point = {1, 1};
       }},
      {"positive, normal", [](Example& e) { e.out(e.mul).scale = {0}; }},
      {"positive, normal", [](Example& e) { e.out(e.mul).scale = {-1}; }},
      {"positive, normal", [](Example& e) { e.out(e.mul).scale = {not_a_number}; }},
      {"positive, normal", [](Example& e) { e.out(e.mul).scale = {INFINITY}; }},
      {"positive, normal", [](Example& e) { e.out(e.mul).scale = {1e-40F}; }},
      {"is not on its grid", [](Example& e) { e.out(e.mul).zero_point = {256}; }},
      {"is not on its grid", [](Example& e) { e.out(e.mul).zero_point = {-1}; }},
      {"the 16-bit grid must have scale 2^-15",
       [](Example& e) { e.grid(e.graph.states[0].input).scale = {1e-4F}; }},
      {"frame: its grid", [](Example& e) { e.grid(e.graph.frame).scale = {1.0F / 256}; }},
      {"its grid must be u8, scale 1/255", [](Example& e) { e.out(e.fgr).scale = {1.0F / 256}; }},
      {"its grid must have 8 bits", [](Example& e) { e.out(e.fgr).bits = 4; }},
      {"its grid must be its input's", [](Example& e) { e.out(e.half).zero_point = {91}; }},
      {"its grid must be its input's", [](Example& e) { e.out(e.up).scale = {0.01F}; }},
      {"its grid must be that of the channels", [](Example& e) { e.out(e.slice).scale = {0.01F}; }},
      {"on a 16-bit grid; requantize it",
       [](Example& e) {
         e.op(e.up).inputs[0] = e.op(e.blend).output;
         e.out(e.up) = test::state_grid();
       }},
      {"cannot write a 16-bit grid", [](Example& e) { e.out(e.project) = test::state_grid(); }},
      {"rounding down needs zero point 0",
       [](Example& e) { e.op(e.project).rounding = Rounding::down; }},
      {"z must be u8", [](Example& e) { e.op(e.blend).inputs[0] = e.op(e.slice).output; }},
      {"h and the output must be s16",
       [](Example& e) { e.op(e.blend).inputs[1] = e.op(e.slice).output; }},
      {"c must be u8", [](Example& e) { e.op(e.blend).inputs[2] = e.op(e.slice).output; }},
  });
}

TEST(Verify, Integers) {
  run({
      {"must have 4 or 8 bits", [](Example& e) { e.conv(e.stem).weight_bits = 5; }},
      {"integer weights", [](Example& e) { e.conv(e.stem).quantized_weight.pop_back(); }},
      {"integer weights", [](Example& e) { e.conv(e.stem).quantized_bias.push_back(0); }},
      {"integer weights", [](Example& e) { e.conv(e.stem).accumulator_scale.clear(); }},
      {"integer weights",
       [](Example& e) {
         e.conv(e.stem).segment_shift = {0, 0};
       }},
      {"does not fit 4 bits",
       [](Example& e) {
         e.conv(e.stem).weight_bits = 4;
         e.conv(e.stem).quantized_weight[3] = 8;
       }},
      {"accumulator scales", [](Example& e) { e.conv(e.stem).accumulator_scale[1] = 0; }},
      {"accumulator scales",
       [](Example& e) { e.conv(e.stem).accumulator_scale[1] = not_a_number; }},
      {"segment shifts",
       [](Example& e) {
         e.conv(e.decode).segment_shift = {1, 2};
       }},
      {"segment shifts",
       [](Example& e) {
         e.conv(e.decode).segment_shift = {0, 16};
       }},
      {"segment shifts",
       [](Example& e) {
         e.conv(e.decode).segment_shift = {0, -1};
       }},
      {"channel 1: the ratio of its scales",
       [](Example& e) { e.conv(e.stem).accumulator_scale[1] = 1e30F; }},
      {"channel 1: the ratio of its scales",
       [](Example& e) { e.conv(e.stem).accumulator_scale[1] = -1e30F; }},
      {"channel 0: the ratio of its scales", [](Example& e) { e.out(e.mul).scale = {1e-30F}; }},
      {"channel 0: the ratio of its scales", [](Example& e) { e.out(e.pool).scale = {1e-30F}; }},
      {"channel 0: the ratio of its scales", [](Example& e) { e.out(e.gate).scale = {1e-30F}; }},
  });
}

// One input channel of u8 with zero point z, weight 127, one tap: |acc| <= |bias| + 127 * max(z,
// 255 - z).
Example one_weight(int zero_point, int weight, int64_t bias) {
  Example made = example();
  Convolution& conv = made.conv(made.project);
  for (size_t i = 0; i < conv.quantized_weight.size(); ++i)
    conv.quantized_weight[i] =
        i == 8 ? static_cast<int8_t>(weight) : int8_t{0};  // channel 1, input 0
  conv.weight_bits = 8;
  made.out(made.mul).zero_point = {zero_point};
  conv.quantized_bias.assign(conv.quantized_bias.size(), 0);
  conv.quantized_bias[1] = static_cast<int32_t>(bias);
  return made;
}

TEST(Verify, AccumulatorBoundIsExact) {
  const int64_t top = 2147483647, reach = int64_t{127} * 255;
  const char* expected = "the accumulator of channel 1 can leave 32 bits";
  // z = 0: both forms are |bias| + 127 * 255.
  EXPECT_EQ(violations(one_weight(0, 127, top - reach).graph), std::vector<std::string>{});
  expect_found(one_weight(0, 127, top - reach + 1).graph, expected);
  expect_found(one_weight(0, -127, -(top - reach + 1)).graph, expected);
  // z = 255, negative bias: the kernels' form is |bias - 127 * 255| + 127 * 255, the tighter one.
  EXPECT_EQ(violations(one_weight(255, 127, -(top - 2 * reach)).graph), std::vector<std::string>{});
  expect_found(one_weight(255, 127, -(top - 2 * reach + 1)).graph, expected);
  // z = 255, positive bias: folding helps; the definition's form |bias| + 127 * 255 is tighter.
  EXPECT_EQ(violations(one_weight(255, 127, top - reach).graph), std::vector<std::string>{});
  expect_found(one_weight(255, 127, top - reach + 1).graph, expected);
  expect_found(one_weight(0, 1, -2147483648LL).graph, expected);
}

TEST(Verify, AccumulatorBoundCountsTheShift) {
  Example made = example();
  Convolution& conv = made.conv(made.decode);
  conv.quantized_weight.assign(conv.quantized_weight.size(), 0);
  conv.quantized_weight.back() = 127;  // last output channel, last segment: grid u8, zero point 90
  conv.weight_bits = 8;
  conv.segment_shift = {0, 15};
  const int64_t reach = (int64_t{127} * 165) << 15;
  conv.quantized_bias.assign(conv.quantized_bias.size(), 0);
  conv.quantized_bias.back() = static_cast<int32_t>(2147483647 - reach);
  EXPECT_EQ(violations(made.graph), std::vector<std::string>{});
  ++conv.quantized_bias.back();
  expect_found(made.graph, "can leave 32 bits");
}

}  // namespace
}  // namespace mattec::ir
