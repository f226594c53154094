// Kernels without weights: pooling, gates, upsampling.
#include "generators/arguments.h"
#include "generators/generators.h"

namespace mattec::generators {

using namespace Halide;

// Sum over all pixels; the mean's 1 / count and the scales are in row_to_grid.
Pipeline build_global_avg_pool(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.input_width);
  const Constants constants(kernel, c);
  const RDom r(0, kernel.input_width, 0, kernel.input_height, "r");
  Func& acc = made.accumulator;
  acc = Func("acc");
  acc(c, x, y) = constants.integer(lower::row_bias);  // - count * zero point
  acc(c, x, y) += cast<int32_t>(input(c, r.x, r.y));
  made.updates.push_back({0, r});
  const Expr mean = cast<float>(acc(c, x, y)) * constants.real(lower::row_to_grid);
  write(kernel, constants, rows, to_grid(mean, constants, kernel.rounding), made);
  made.arguments = {rows.first, rows.count, input, constants.parameter()};
  return made;
}

// (x - x's zero point) * (gate - gate's zero point), which are row_bias and row_residual; the
// multiplier is row_to_grid.
Pipeline build_gate(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.width);
  const ImageParam gate = input_parameter("gate", stored_type(kernel), kernel.inputs[1], 1);
  const Constants constants(kernel, c);
  // 9 bits each: ARM multiplies 16-bit factors into 32 bits; AVX2 would take 0.7 % longer for a
  // frame.
  const Type wide = kernel.is_signed ? Int(16) : Int(32);
  const auto centred = [&](const Expr& stored, lower::ConstantRow zero_point) {
    return cast(wide, stored) - cast(wide, constants.integer(zero_point));
  };
  const Expr value = centred(input(c, x, y), lower::row_bias);
  const Expr factor = centred(gate(c, 0, 0), lower::row_residual);
  const Expr product = cast<float>(cast<int32_t>(value) * cast<int32_t>(factor)) *
                       constants.real(lower::row_to_grid);
  write(kernel, constants, rows, to_grid(product, constants, kernel.rounding), made);
  made.arguments = {rows.first, rows.count, input, gate, constants.parameter()};
  return made;
}

// Defines and binds the output of a kernel whose tensor stays on its input's grid: `stored`, and
// copies on other grids.
Pipeline move(const lower::Kernel& kernel, const RowRange& rows, const ImageParam& input,
              const Expr& stored, Pipeline made) {
  const Constants constants(kernel, made.c);
  made.arguments = {rows.first, rows.count, input};
  Expr centred;
  if (kernel.copy_count() > 0) {
    made.arguments.emplace_back(constants.parameter());
    centred = cast<float>(cast<int32_t>(stored) - constants.integer(lower::row_bias));
  }
  write(kernel, constants, rows, {stored, centred}, made);
  return made;
}

Pipeline build_requantize(const lower::Kernel& kernel) {
  const Pipeline made;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.width);
  return move(kernel, rows, input, input(made.c, made.x, made.y), made);
}

Pipeline build_gather(const lower::Kernel& kernel) {
  Pipeline made;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.width);
  const Constants constants(kernel, made.c);
  const Expr channel =
      clamp(constants.integer(lower::row_source), 0, kernel.inputs[0].channels - 1);
  const Expr value = cast<int32_t>(input(channel, made.x, made.y));
  write(kernel, constants, rows, {Expr(), cast<float>(value - constants.integer(lower::row_bias))},
        made);
  made.arguments = {rows.first, rows.count, input, constants.parameter()};
  return made;
}

// Bilinear, half-pixel centres: weights 1/4 and 3/4 along each axis, one rounding. The input is the
// whole tensor, so rows count from first_row.
Pipeline build_upsample2(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.input_width);
  // Rounding down as shifts do commutes with what signed bytes are stored less.
  const Type wide = kernel.is_signed ? Int(16) : UInt(16);
  // far: index of the neighbour with weight 1/4: i - 1 for even positions 2 i, i + 1 for odd ones.
  const auto near = [](const Expr& at) { return at / 2; };
  const auto far = [](const Expr& at) { return (at - 1) / 2 + (at % 2); };
  const Expr row = y + rows.first;
  const Expr column = clamp(x, 0, kernel.input_width - 1);
  const Expr other_row = clamp(far(row), 0, kernel.input_height - 1);
  // Columns of the input, which neighbours share.
  Func vertical("vertical");
  vertical(c, x, y) = cast(wide, input(c, column, near(row))) * cast(wide, 3) +
                      cast(wide, input(c, column, other_row));
  made.inputs.push_back(vertical);
  const Expr sum = vertical(c, near(x), y) * cast(wide, 3) + vertical(c, far(x), y);
  return move(kernel, rows, input, cast(stored_type(kernel), (sum + cast(wide, 8)) >> 4), made);
}

// 2x2 mean, rounded half up; windows cut by an odd border average what they have.
Pipeline build_avg_pool2(const lower::Kernel& kernel) {
  const Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const ImageParam input =
      input_parameter("input0", stored_type(kernel), kernel.inputs[0], kernel.input_width);
  const Type wide = kernel.is_signed ? Int(16) : UInt(16);
  const Expr row = y + rows.first;
  // A border window counts its pixels twice: (2 s + 2) >> 2 = (s + 1) >> 1.
  const Expr right = min(2 * x + 1, kernel.input_width - 1);
  const Expr below = min(2 * row + 1, kernel.input_height - 1);
  const auto value = [&](const Expr& column, const Expr& at) {
    return cast(wide, input(c, column, at));
  };
  const Expr sum =
      value(2 * x, 2 * row) + value(right, 2 * row) + value(2 * x, below) + value(right, below);
  return move(kernel, rows, input, cast(stored_type(kernel), (sum + cast(wide, 2)) >> 2), made);
}

// Blocks of lower::pack_nibbles, one a row, to signed integers of 8 or 16 bits.
Pipeline build_unpack(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const int half = kernel.inputs[0].channels;
  const ImageParam input = input_parameter("input0", UInt(8), kernel.inputs[0], kernel.width);
  const Expr pair = input(c % half, x, y);
  const Expr nibble = select(c < half, pair & cast<uint8_t>(15), pair >> 4);
  made.output = Func("output");
  // Two's complement: 8 .. 15 stand for -8 .. -1.
  const Expr weight = (nibble ^ cast<uint8_t>(8)) - cast<uint8_t>(8);
  made.output(c, x, y) =
      kernel.factor_bits == 16 ? cast<int16_t>(reinterpret<int8_t>(weight)) : weight;
  bind_outputs(kernel, rows, made);
  made.arguments = {rows.first, rows.count, input};
  return made;
}

Pipeline build_widen(const lower::Kernel& kernel) {
  Pipeline made;
  const Var c = made.c, x = made.x, y = made.y;
  const RowRange rows;
  const ImageParam input = input_parameter("input0", Int(8), kernel.inputs[0], kernel.width);
  made.output = Func("output");
  made.output(c, x, y) = cast<int16_t>(input(c, x, y));
  bind_outputs(kernel, rows, made);
  made.arguments = {rows.first, rows.count, input};
  return made;
}

Pipeline build(const lower::Kernel& kernel, const Division& division,
               const std::string& microkernel) {
  switch (kernel.kind) {
    case lower::KernelKind::conv:
      return build_conv(kernel, division, microkernel);
    case lower::KernelKind::depthwise:
      return build_depthwise(kernel);
    case lower::KernelKind::global_avg_pool:
      return build_global_avg_pool(kernel);
    case lower::KernelKind::gate:
      return build_gate(kernel);
    case lower::KernelKind::upsample2:
      return build_upsample2(kernel);
    case lower::KernelKind::avg_pool2:
      return build_avg_pool2(kernel);
    case lower::KernelKind::requantize:
      return build_requantize(kernel);
    case lower::KernelKind::gather:
      return build_gather(kernel);
    case lower::KernelKind::unpack:
      return build_unpack(kernel);
    case lower::KernelKind::widen:
      return build_widen(kernel);
  }
  return {};
}

}  // namespace mattec::generators
