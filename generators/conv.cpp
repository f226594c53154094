// Dense convolution over segments, and the GRU's two fused epilogues.
#include <utility>

#include "generators/arguments.h"
#include "generators/generators.h"

namespace mattec::generators {

using namespace Halide;

namespace {

// acc(c, x, y): bias first (or last, where segments are shifted), then one update per segment.
void accumulate(const lower::Kernel& kernel, const std::vector<ImageParam>& inputs,
                const ImageParam& weights, const ImageParam& constants, Pipeline& made) {
  const Var c = made.c, x = made.x, y = made.y;
  Func& acc = made.accumulator;
  acc = Func("acc");
  const bool bias_last = kernel.any_shift();
  acc(c, x, y) = bias_last ? Expr(0) : constant_int(constants, c, lower::row_bias);
  int update = 0, group = 0;
  for (size_t j = 0; j < inputs.size(); ++j) {
    Func in("in" + std::to_string(j));
    in(c, x, y) = cast<int16_t>(inputs[j](c, x, y));
    made.inputs.push_back(in);
    const int lanes = kernel.lanes, groups = kernel.inputs[j].channels / lanes, k = kernel.kernel;
    const RDom r(0, lanes, 0, groups, 0, k, 0, k, "r" + std::to_string(j));
    const Expr w = weights(r.x, c, group + r.y + groups * (r.z + k * r.w));
    const Expr value = in(r.x + lanes * r.y, x * kernel.stride + r.z * kernel.dilation,
                          y * kernel.stride + r.w * kernel.dilation);
    // 16-bit factors of a 32-bit sum: the form that LLVM turns into dot-product instructions.
    acc(c, x, y) += cast<int32_t>(cast<int16_t>(w)) * cast<int32_t>(value);
    made.updates.push_back({update++, r});
    group += groups * k * k;
    if (kernel.shifts[j] != 0) {
      acc(c, x, y) = acc(c, x, y) << kernel.shifts[j];
      made.updates.push_back({update++, RDom()});
    }
  }
}

// Unsigned 8-bit integer of a sigmoid: r and z of the GRU, zero point 0.
Expr gate_integer(const Expr& value) {
  return round_biased(min(max(value, 0.0f), 255.0f)) - lower::rounding_bias;
}

}  // namespace

Pipeline build_conv(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const int channels = kernel.output.channels;
  const int padded = lower::round_up(channels, lower::channel_block);

  std::vector<ImageParam> inputs;
  int groups = 0;
  const int columns =
      (kernel.width - 1) * kernel.stride + (kernel.kernel - 1) * kernel.dilation + 1;
  for (const lower::Layout& layout : kernel.inputs) {
    inputs.push_back(
        input_parameter("input" + std::to_string(inputs.size()), UInt(8), layout, columns));
    groups += layout.channels / kernel.lanes * kernel.kernel * kernel.kernel;
  }
  ImageParam weights(Int(8), 3, "weights");
  weights.set_host_alignment(64);
  weights.dim(0).set_bounds(0, kernel.lanes).set_stride(1);
  weights.dim(1).set_bounds(0, padded).set_stride(kernel.lanes);
  weights.dim(2).set_bounds(0, groups).set_stride(kernel.lanes * padded);
  const ImageParam constants = constants_parameter(channels);

  accumulate(kernel, inputs, weights, constants, made);
  Expr sum = made.accumulator(c, x, y);
  if (kernel.any_shift()) sum += constant_int(constants, c, lower::row_bias);
  const Expr value = activated(kernel.activation, sum, constants, c);
  const Expr second = constant_float(constants, c, lower::row_second);

  made.arguments = {rows.first, rows.count};
  for (const ImageParam& input : inputs) made.arguments.emplace_back(input);
  made.arguments.emplace_back(weights);
  made.arguments.emplace_back(constants);

  Func& output = made.output;
  output = Func("output");
  if (kernel.epilogue == lower::Epilogue::blend) {
    const ImageParam z = input_parameter("z", UInt(8), kernel.extra, kernel.width);
    const Expr candidate = cast<int32_t>(to_grid(value, constants, c, kernel.rounding));
    // An update of the output itself: h is read and written in place, and both values are
    // computed before either is stored.
    output(c, x, y) = Tuple(undef<int16_t>(), undef<uint8_t>());
    const Expr old = cast<int32_t>(output(c, x, y)[0]);
    const Expr step = ((candidate - 128) * 256 - old) * cast<int32_t>(z(c, x, y));
    // Within 2^22: z is a sigmoid's integer, at most 1 in real value, and the step below 2^16.
    const Expr change = round_biased(cast<float>(step) * second) - lower::rounding_bias;
    const Expr updated = clamp(old + change, -32768, 32767);
    const Expr copied = cast<float>(updated) * constant_float(constants, c, lower::row_copy);
    const Expr copy = clamp(round_biased(copied) - (lower::rounding_bias - 128), 0, 255);
    output(c, x, y) = Tuple(cast<int16_t>(updated), cast<uint8_t>(copy));
    made.arguments.emplace_back(z);
    bind_output(output.output_buffers()[0], kernel.output, kernel.width, rows.count);
    // Extents follow the first output's.
    output.output_buffers()[1].dim(1).set_stride(kernel.copy.pixel_stride);
    output.output_buffers()[1].dim(2).set_stride(kernel.copy.row_stride);
    return made;
  }
  if (kernel.epilogue == lower::Epilogue::gates) {
    const int half = kernel.extra.channels;
    const ImageParam h = input_parameter("h", Int(16), kernel.extra, kernel.width);
    const Expr gate = gate_integer(value);
    const Expr product = cast<float>(gate * cast<int32_t>(h(min(c, half - 1), x, y))) * second;
    output(c, x, y) =
        select(c < half, to_grid(product, constants, c, kernel.rounding), cast<uint8_t>(gate));
    made.arguments.emplace_back(h);
  } else if (kernel.has_residual) {
    const ImageParam residual = input_parameter("residual", UInt(8), kernel.extra, kernel.width);
    const Expr offset = constant_int(constants, c, lower::row_copy);
    const Expr added = cast<float>(cast<int32_t>(residual(c, x, y)) - offset) * second;
    output(c, x, y) = to_grid(value + added, constants, c, kernel.rounding);
    made.arguments.emplace_back(residual);
  } else {
    output(c, x, y) = to_grid(value, constants, c, kernel.rounding);
  }
  bind_output(output.output_buffer(), kernel.output, kernel.width, rows.count);
  return made;
}

}  // namespace mattec::generators
