// Depthwise convolution: one filter per channel.
#include "generators/arguments.h"
#include "generators/generators.h"

namespace mattec::generators {

using namespace Halide;

Pipeline build_depthwise(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const int k = kernel.kernel;
  const int padded = lower::round_up(kernel.output.channels, lower::channel_block);
  const int columns = (kernel.width - 1) * kernel.stride + (k - 1) * kernel.dilation + 1;

  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], columns);
  ImageParam weights(Int(8), 2, "weights");
  weights.set_host_alignment(64);
  weights.dim(0).set_bounds(0, padded).set_stride(1);
  weights.dim(1).set_bounds(0, k * k).set_stride(padded);
  const Constants constants(kernel, c);

  const RDom r(0, k, 0, k, "r");
  Func& acc = made.accumulator;
  acc = Func("acc");
  acc(c, x, y) = constants.integer(lower::row_bias);
  Func in("in");
  in(c, x, y) = cast<int16_t>(input(c, x, y));
  made.inputs.push_back(in);
  const Expr tap =
      in(c, x * kernel.stride + r.x * kernel.dilation, y * kernel.stride + r.y * kernel.dilation);
  acc(c, x, y) += cast<int32_t>(tap) * cast<int32_t>(cast<int16_t>(weights(c, r.x + k * r.y)));
  made.updates.push_back({0, r});

  const Expr value = activated(kernel.activation, acc(c, x, y), constants);
  write(kernel, constants, rows, to_grid(value, constants, kernel.rounding), made);
  made.arguments = {rows.first, rows.count, input, weights, constants.parameter()};
  return made;
}

}  // namespace mattec::generators
