#include "generators/arguments.h"

#include "ir/arithmetic.h"

namespace mattec::generators {

using namespace Halide;

Type stored_type(const lower::Kernel& kernel) { return kernel.is_signed ? Int(8) : UInt(8); }

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

void bind_outputs(const lower::Kernel& kernel, const RowRange& rows, Pipeline& made) {
  std::vector<OutputImageParam> buffers = made.output.output_buffers();
  buffers[0].dim(0).set_bounds(0, kernel.output.channels).set_stride(1);
  buffers[0].dim(1).set_bounds(0, kernel.width).set_stride(kernel.output.pixel_stride);
  buffers[0].dim(2).set_bounds(0, rows.count).set_stride(kernel.output.row_stride);
  for (size_t i = 0; i < kernel.copies.size(); ++i) {  // extents follow the first output's
    buffers[i + 1].dim(1).set_stride(kernel.copies[i].pixel_stride);
    buffers[i + 1].dim(2).set_stride(kernel.copies[i].row_stride);
  }
}

Constants::Constants(const lower::Kernel& kernel, const Var& channel)
    : kernel_(kernel), channel_(channel), parameter_(Int(32), 2, "constants") {
  const int padded = lower::round_up(kernel.output.channels, lower::channel_block);
  parameter_.set_host_alignment(64);
  parameter_.dim(0).set_bounds(0, padded).set_stride(1);
  parameter_.dim(1).set_bounds(0, lower::constant_rows(kernel)).set_stride(padded);
}

Expr Constants::stored(const Expr& integer) const { return cast(stored_type(kernel_), integer); }

Expr Constants::real(lower::ConstantRow row) const { return reinterpret<float>(integer(row)); }

Expr Constants::integer(int copy, lower::CopyRow row) const {
  return at(lower::row_of(kernel_, copy, row));
}

Expr Constants::real(int copy, lower::CopyRow row) const {
  return reinterpret<float>(integer(copy, row));
}

Expr round_biased(const Expr& value) { return reinterpret<int32_t>(value + lower::rounding_magic); }

Expr rounded(const Expr& value) { return (value + lower::rounding_magic) - lower::rounding_magic; }

Constants::Range Constants::range(int first_row) const {
  const Expr zero_point = at(first_row), low = at(first_row + 1), high = at(first_row + 2);
  if (kernel_.clamps_in_16_bits)
    return {cast<int16_t>(zero_point), cast<int16_t>(low), cast<int16_t>(high)};
  return {zero_point, reinterpret<float>(low), reinterpret<float>(high)};
}

namespace {

// A value, less the zero point, rounded into its range: as an integer that lacks the zero point
// (and the rounding bias where floats are clamped), and as a float.
struct Clamped {
  Expr integer, real;
};

// A value rounded to 16 bits: without saturation the sum's low half is the integer, since
// rounding_bias has none there.
Expr narrowed(const Expr& value, bool fits) {
  if (fits) return cast<int16_t>(round_biased(value));
  return saturating_cast<int16_t>(cast<int32_t>(round(value)));
}

Clamped clamped(const Expr& value, const Constants::Range& range, const lower::Kernel& kernel,
                bool fits) {
  if (kernel.clamps_in_16_bits) {
    const Expr narrow = narrowed(value, fits);
    const Expr integer = min(max(narrow, range.low), range.high);
    return {integer, cast<float>(integer)};
  }
  const Expr inside = min(max(value, range.low), range.high);
  return {round_biased(inside), rounded(inside)};
}

// Outputs of the network, whose zero point is 0.
Expr clamped_down(const Expr& value, const Constants::Range& range, const lower::Kernel& kernel) {
  if (!kernel.clamps_in_16_bits) return cast<int32_t>(min(max(value, range.low), range.high));
  return min(max(saturating_cast<int16_t>(cast<int32_t>(value)), range.low), range.high);
}

}  // namespace

GridValue to_grid(const Expr& value, const Constants& constants, ir::Rounding rounding) {
  const Constants::Range range = constants.range();
  const lower::Kernel& kernel = constants.kernel();
  if (rounding == ir::Rounding::down) {
    const Expr down = clamped_down(value, range, kernel);
    return {constants.stored(down - cast(down.type(), constants.offset())), Expr()};
  }
  if (kernel.fills_bytes)
    return {saturating_cast<int8_t>(narrowed(value, true) + range.zero_point), Expr()};
  const Clamped made = clamped(value, range, kernel, kernel.fits_16_bits);
  return {constants.stored(made.integer + range.zero_point), made.real};
}

std::vector<Expr> copies(const lower::Kernel& kernel, const Constants& constants,
                         const Expr& centred) {
  std::vector<Expr> made;
  for (int i = 0; i < kernel.copy_count(); ++i) {
    const Constants::Range range = constants.range(i, lower::copy_zero_point);
    const Expr value = centred * constants.real(i, lower::copy_multiplier);
    made.push_back(constants.stored(
        clamped(value, range, kernel, kernel.copies_fit_16_bits).integer + range.zero_point));
  }
  return made;
}

void write(const lower::Kernel& kernel, const Constants& constants, const RowRange& rows,
           const GridValue& value, Pipeline& made) {
  std::vector<Expr> values = copies(kernel, constants, value.centred);
  if (!kernel.only_copies) values.insert(values.begin(), value.stored);
  made.output = Func("output");
  if (values.size() == 1)
    made.output(made.c, made.x, made.y) = values[0];
  else
    made.output(made.c, made.x, made.y) = Tuple(values);
  bind_outputs(kernel, rows, made);
}

Expr tanh_approximation(const Expr& value) {
  const Expr v = min(max(value, -ir::tanh_limit), ir::tanh_limit);
  const Expr s = v * v;
  return v * (ir::tanh_p0 + ir::tanh_p1 * s) / (1.0f + s * (ir::tanh_q0 + ir::tanh_q1 * s));
}

Expr sigmoid_approximation(const Expr& value) {
  return tanh_approximation(value * 0.5f) * 0.5f + 0.5f;
}

Expr activated(ir::Activation activation, const Expr& accumulator, const Constants& constants) {
  const Expr grid = constants.real(lower::row_to_grid);
  const Expr value = cast<float>(accumulator);
  if (lower::is_linear(activation)) return value * grid;
  const Expr real = value * constants.real(lower::row_to_real);
  const Expr ramp = min(max(real + 3.0f, 0.0f), 6.0f);
  switch (activation) {
    case ir::Activation::hardswish:
      return real * ramp * grid;
    case ir::Activation::hardsigmoid:
      return ramp * grid;
    case ir::Activation::sigmoid:
      return sigmoid_approximation(real) * grid;
    case ir::Activation::tanh:
      return tanh_approximation(real) * grid;
    default:
      return value * grid;
  }
}

}  // namespace mattec::generators
