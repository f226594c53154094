// Depthwise convolution: one filter per channel.
#include "generators/arguments.h"
#include "generators/generators.h"

namespace mattec::generators {

using namespace Halide;

Pipeline build_depthwise(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const int channels = kernel.output.channels, k = kernel.kernel;
  const int padded = lower::round_up(channels, lower::channel_block);
  const int columns = (kernel.width - 1) * kernel.stride + (k - 1) * kernel.dilation + 1;

  const ImageParam input = input_parameter("input0", UInt(8), kernel.inputs[0], columns);
  ImageParam weights(Int(8), 2, "weights");
  weights.set_host_alignment(64);
  weights.dim(0).set_bounds(0, padded).set_stride(1);
  weights.dim(1).set_bounds(0, k * k).set_stride(padded);
  const ImageParam constants = constants_parameter(channels);

  const RDom r(0, k, 0, k, "r");
  Func& acc = made.accumulator;
  acc = Func("acc");
  acc(c, x, y) = constant_int(constants, c, lower::row_bias);
  const Expr value = input(c, x * kernel.stride + r.x * kernel.dilation,
                           y * kernel.stride + r.y * kernel.dilation);
  acc(c, x, y) += cast<int32_t>(value) * cast<int32_t>(weights(c, r.x + k * r.y));
  made.updates.push_back({0, r});

  made.output = Func("output");
  made.output(c, x, y) = to_grid(activated(kernel.activation, acc(c, x, y), constants, c),
                                 constants, c, kernel.rounding);
  bind_output(made.output.output_buffer(), kernel.output, kernel.width, rows.count);
  made.arguments = {rows.first, rows.count, input, weights, constants};
  return made;
}

}  // namespace mattec::generators
