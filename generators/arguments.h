// Arguments and arithmetic that the generators share.
#pragma once

#include <string>

#include "Halide.h"
#include "lower/kernel.h"

namespace mattec::generators {

// The two scalars every kernel starts with.
struct RowRange {
  Halide::Param<int32_t> first{"first_row"};
  Halide::Param<int32_t> count{"row_count"};
};

// An input [channel, column, row] from (0, 0, 0); `columns` = 0 leaves the width open.
Halide::ImageParam input_parameter(const std::string& name, Halide::Type type,
                                   const lower::Layout& layout, int columns);
// The [channel, row] constants of lower::ConstantRow.
Halide::ImageParam constants_parameter(int channels);
// Fixes an output's channels, columns, strides, and rows to [0, count).
void bind_output(Halide::OutputImageParam output, const lower::Layout& layout, int columns,
                 const Halide::Param<int32_t>& count);

Halide::Expr constant_float(const Halide::ImageParam& constants, const Halide::Expr& channel,
                            lower::ConstantRow row);
Halide::Expr constant_int(const Halide::ImageParam& constants, const Halide::Expr& channel,
                          lower::ConstantRow row);

// Rounds a float of magnitude below 2^22 to nearest even; the result is lower::rounding_bias too
// large (the zero point's row makes up for it).
Halide::Expr round_biased(const Halide::Expr& value);
// ir::to_grid with the constants of `channel`: clamp, round, zero point, to unsigned 8 bit.
Halide::Expr to_grid(const Halide::Expr& value, const Halide::ImageParam& constants,
                     const Halide::Expr& channel, ir::Rounding rounding);
// ir::tanh_approximation, ir::sigmoid_approximation
Halide::Expr tanh_approximation(const Halide::Expr& value);
Halide::Expr sigmoid_approximation(const Halide::Expr& value);
// Accumulator -> value on the output grid before rounding: ir::convolution_epilogue without the
// residual.
Halide::Expr activated(ir::Activation activation, const Halide::Expr& accumulator,
                       const Halide::ImageParam& constants, const Halide::Expr& channel);

}  // namespace mattec::generators
