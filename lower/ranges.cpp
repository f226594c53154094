// What is known of a tensor's values before they are narrowed to bytes.
#include <algorithm>
#include <cmath>

#include "lower/lowering.h"

namespace mattec::lower {
namespace {

// Room for rounding, a zero point, and the floats' own errors.
constexpr double largest_of_16_bits = 32000;

// The largest magnitude of ir::convolution_epilogue, in steps of the output grid, for sums of at
// most `sum`.
double largest_value(ir::Activation activation, double sum, const ir::EpilogueConstants& made) {
  const double grid = std::fabs(made.to_grid);
  const double residual = 255 * std::fabs(made.residual);
  switch (activation) {
    case ir::Activation::hardswish:
      return sum * std::fabs(made.to_real) * 6 * grid + residual;
    case ir::Activation::hardsigmoid:
      return 6 * grid + residual;
    case ir::Activation::sigmoid:
    case ir::Activation::tanh:
      return 1.01 * grid + residual;
    default:
      return sum * grid + residual;
  }
}

}  // namespace

void Ranges::add(double largest, ir::Bounds bounds, const ir::Grid& grid) {
  fits_16_bits = fits_16_bits && largest < largest_of_16_bits;
  fills_bytes = fills_bytes && grid.bits == 8 && bounds.lowest == 0 && bounds.highest == 255;
}

void Ranges::add(ir::Activation activation, double sum, const ir::EpilogueConstants& made,
                 const ir::Grid& grid, int channel) {
  add(largest_value(activation, sum, made), ir::epilogue_bounds(activation, grid, channel), grid);
}

void Ranges::set(Kernel& kernel) const {
  if (!kernel.clamps_in_16_bits || kernel.rounding == ir::Rounding::down) return;
  kernel.fits_16_bits = fits_16_bits;
  // Copies are made of the clamped value, and so is the GRU's state.
  kernel.fills_bytes = fits_16_bits && fills_bytes && kernel.is_signed &&
                       kernel.epilogue == Epilogue::store && kernel.copy_count() == 0;
}

}  // namespace mattec::lower
