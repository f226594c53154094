// Arguments and arithmetic that the generators share.
#pragma once

#include <string>
#include <vector>

#include "Halide.h"
#include "generators/generators.h"
#include "lower/kernel.h"

namespace mattec::generators {

// Of a tensor's bytes.
Halide::Type stored_type(const lower::Kernel& kernel);

// The two scalars every kernel starts with.
struct RowRange {
  Halide::Param<int32_t> first{"first_row"};
  Halide::Param<int32_t> count{"row_count"};
};

// An input [channel, column, row] from (0, 0, 0); `columns` = 0 leaves the width open.
Halide::ImageParam input_parameter(const std::string& name, Halide::Type type,
                                   const lower::Layout& layout, int columns);
// Fixes the outputs' channels, columns, strides, and rows to [0, count).
void bind_outputs(const lower::Kernel& kernel, const RowRange& rows, Pipeline& made);

// A kernel's constants at one channel.
class Constants {
 public:
  Constants(const lower::Kernel& kernel, const Halide::Var& channel);
  const Halide::ImageParam& parameter() const { return parameter_; }
  // An integer as the kernel's tensors store it.
  Halide::Expr stored(const Halide::Expr& integer) const;
  // What a gate's integers, of 8 bits from 0, are stored less; a matte's, too.
  int offset() const { return kernel_.is_signed ? 128 : 0; }
  // row_zero_point, row_low and row_high, or a copy's, as lower::Kernel says they are.
  struct Range {
    Halide::Expr zero_point, low, high;
  };
  Range range() const { return range(lower::row_of(kernel_, lower::row_zero_point)); }
  Range range(int copy, lower::CopyRow first) const {
    return range(lower::row_of(kernel_, copy, first));
  }
  const lower::Kernel& kernel() const { return kernel_; }
  Halide::Expr integer(lower::ConstantRow row) const { return at(lower::row_of(kernel_, row)); }
  Halide::Expr real(lower::ConstantRow row) const;
  Halide::Expr integer(int copy, lower::CopyRow row) const;
  Halide::Expr real(int copy, lower::CopyRow row) const;

 private:
  Range range(int first_row) const;
  Halide::Expr at(int row) const { return parameter_(channel_, row); }
  const lower::Kernel& kernel_;
  Halide::Var channel_;
  Halide::ImageParam parameter_;  // [channel, row]
};

// Rounds a float of magnitude below 2^22 to nearest even; the result is lower::rounding_bias too
// large (the zero point's row makes up for it).
Halide::Expr round_biased(const Halide::Expr& value);
// The same as a float: taking the magic number away again leaves the rounded value.
Halide::Expr rounded(const Halide::Expr& value);
// An integer of a tensor as it is stored (unsigned, 8 bit) and as a float less its zero point.
struct GridValue {
  Halide::Expr stored, centred;
};
// ir::to_grid with the kernel's constants. Rounding down leaves `centred` undefined.
GridValue to_grid(const Halide::Expr& value, const Constants& constants, ir::Rounding rounding);
// The integers of the kernel's copies (ir's requantize) from the tensor's own.
std::vector<Halide::Expr> copies(const lower::Kernel& kernel, const Constants& constants,
                                 const Halide::Expr& centred);
// Defines and binds `made.output`: the tensor, unless only copies are stored, and the copies.
void write(const lower::Kernel& kernel, const Constants& constants, const RowRange& rows,
           const GridValue& value, Pipeline& made);
// ir::tanh_approximation, ir::sigmoid_approximation
Halide::Expr tanh_approximation(const Halide::Expr& value);
Halide::Expr sigmoid_approximation(const Halide::Expr& value);
// Accumulator -> value on the output grid before rounding: ir::convolution_epilogue without the
// residual.
Halide::Expr activated(ir::Activation activation, const Halide::Expr& accumulator,
                       const Constants& constants);

}  // namespace mattec::generators
