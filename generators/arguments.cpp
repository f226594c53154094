#include "generators/arguments.h"

#include "ir/arithmetic.h"

namespace mattec::generators {

using namespace Halide;

ImageParam input_parameter(const std::string& name, Type type, const lower::Layout& layout,
                           int columns) {
  ImageParam parameter(type, 3, name);
  parameter.dim(0).set_bounds(0, layout.channels).set_stride(1);
  if (columns > 0)
    parameter.dim(1).set_bounds(0, columns);
  else
    parameter.dim(1).set_min(0);
  parameter.dim(1).set_stride(layout.pixel_stride);
  parameter.dim(2).set_min(0).set_stride(layout.row_stride);
  return parameter;
}

ImageParam constants_parameter(int channels) {
  const int padded = lower::round_up(channels, lower::channel_block);
  ImageParam parameter(Int(32), 2, "constants");
  parameter.set_host_alignment(64);
  parameter.dim(0).set_bounds(0, padded).set_stride(1);
  parameter.dim(1).set_bounds(0, lower::constant_rows).set_stride(padded);
  return parameter;
}

void bind_output(OutputImageParam output, const lower::Layout& layout, int columns,
                 const Param<int32_t>& count) {
  output.dim(0).set_bounds(0, layout.channels).set_stride(1);
  output.dim(1).set_bounds(0, columns).set_stride(layout.pixel_stride);
  output.dim(2).set_bounds(0, count).set_stride(layout.row_stride);
}

Expr constant_int(const ImageParam& constants, const Expr& channel, lower::ConstantRow row) {
  return constants(channel, static_cast<int>(row));
}

Expr constant_float(const ImageParam& constants, const Expr& channel, lower::ConstantRow row) {
  return reinterpret<float>(constant_int(constants, channel, row));
}

Expr round_biased(const Expr& value) { return reinterpret<int32_t>(value + lower::rounding_magic); }

Expr to_grid(const Expr& value, const ImageParam& constants, const Expr& channel,
             ir::Rounding rounding) {
  const Expr low = constant_float(constants, channel, lower::row_low);
  const Expr high = constant_float(constants, channel, lower::row_high);
  const Expr clamped = min(max(value, low), high);
  if (rounding == ir::Rounding::down) return cast<uint8_t>(cast<int32_t>(clamped));
  return cast<uint8_t>(round_biased(clamped) +
                       constant_int(constants, channel, lower::row_zero_point));
}

Expr tanh_approximation(const Expr& value) {
  const Expr v = min(max(value, -ir::tanh_limit), ir::tanh_limit);
  const Expr s = v * v;
  return v * (ir::tanh_p0 + ir::tanh_p1 * s) / (1.0f + s * (ir::tanh_q0 + ir::tanh_q1 * s));
}

Expr sigmoid_approximation(const Expr& value) {
  return tanh_approximation(value * 0.5f) * 0.5f + 0.5f;
}

Expr activated(ir::Activation activation, const Expr& accumulator, const ImageParam& constants,
               const Expr& channel) {
  const Expr grid = constant_float(constants, channel, lower::row_to_grid);
  Expr value = cast<float>(accumulator);
  const Expr real = value * constant_float(constants, channel, lower::row_to_real);
  const Expr ramp = min(max(real + 3.0f, 0.0f), 6.0f);
  switch (activation) {
    case ir::Activation::none:
    case ir::Activation::relu:
    case ir::Activation::clamp01:
      return value * grid;
    case ir::Activation::hardswish:
      return real * ramp * grid;
    case ir::Activation::hardsigmoid:
      return ramp * grid;
    case ir::Activation::sigmoid:
      return sigmoid_approximation(real) * grid;
    case ir::Activation::tanh:
      return tanh_approximation(real) * grid;
  }
  return value;
}

}  // namespace mattec::generators
