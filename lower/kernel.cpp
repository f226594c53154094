#include "lower/kernel.h"

#include <algorithm>

namespace mattec::lower {
namespace {

std::string text(const Layout& layout) {
  return std::to_string(layout.channels) + "p" + std::to_string(layout.pixel_stride) + "r" +
         std::to_string(layout.row_stride);
}

bool has_weights(KernelKind kind) {
  return kind == KernelKind::conv || kind == KernelKind::depthwise;
}

const char* name_of(KernelKind kind) {
  static const char* const names[] = {"conv",     "depthwise",  "pool",   "gate",   "upsample2",
                                      "average2", "requantize", "gather", "unpack", "widen"};
  return names[static_cast<size_t>(kind)];
}

}  // namespace

bool Kernel::any_shift() const {
  return std::any_of(shifts.begin(), shifts.end(), [](int shift) { return shift != 0; });
}

double Kernel::macs_per_row() const {
  if (kind == KernelKind::depthwise) return double(width) * output.channels * kernel * kernel;
  if (kind != KernelKind::conv) return 0;
  int input_channels = 0;
  for (const Layout& input : inputs) input_channels += input.channels;
  return double(width) * output.channels * kernel * kernel * input_channels;
}

bool is_linear(ir::Activation activation) {
  return activation == ir::Activation::none || activation == ir::Activation::relu ||
         activation == ir::Activation::clamp01;
}

Runs runs_of(const Kernel& kernel, const Layout& input) {
  if (kernel.joins_positions && kernel.dilation == 1 && input.channels == input.pixel_stride)
    return {1, kernel.kernel};
  return {kernel.kernel, 1};
}

int short_steps(int products, int input_bits, bool is_signed, int weight_bits) {
  const int input = is_signed ? 1 << (input_bits - 1) : (1 << input_bits) - 1;
  const int weight = 1 << (weight_bits - 1);
  return 32767 / (products * input * weight);
}

int stored_offset(const ir::Grid& grid, bool is_signed) {
  return is_signed && !grid.is_signed ? 1 << (grid.bits - 1) : 0;
}

bool has_row(const Kernel& kernel, ConstantRow row) {
  const bool only_moves =
      kernel.kind == KernelKind::upsample2 || kernel.kind == KernelKind::avg_pool2 ||
      kernel.kind == KernelKind::requantize || kernel.kind == KernelKind::gather ||
      kernel.kind == KernelKind::unpack || kernel.kind == KernelKind::widen;
  switch (row) {
    case row_bias:
      return !only_moves || kernel.copy_count() > 0;
    case row_to_grid:
    case row_zero_point:
    case row_low:
    case row_high:
      return !only_moves;
    case row_to_real:
      return has_weights(kernel.kind) && !is_linear(kernel.activation);
    case row_second:
      return kernel.has_residual || kernel.epilogue != Epilogue::store;
    case row_residual:
      return kernel.has_residual || kernel.kind == KernelKind::gate;
    case row_source:
      return kernel.kind == KernelKind::gather;
    case row_first_copy:
      break;
  }
  return true;
}

int row_of(const Kernel& kernel, ConstantRow row) {
  int before = 0;
  for (int each = 0; each < row; ++each) before += has_row(kernel, ConstantRow(each));
  return before;
}

int row_of(const Kernel& kernel, int copy, CopyRow row) {
  return row_of(kernel, row_first_copy) + copy * copy_rows + row;
}

int constant_rows(const Kernel& kernel) { return row_of(kernel, kernel.copy_count(), CopyRow(0)); }

std::string name_of(const Kernel& kernel) {
  std::string name = name_of(kernel.kind);
  if (has_weights(kernel.kind)) {
    const std::string extent = std::to_string(kernel.kernel);
    name += extent + "x" + extent + "s" + std::to_string(kernel.stride) + "d" +
            std::to_string(kernel.dilation) + "l" + std::to_string(kernel.depth);
  } else {
    name += "_" + std::to_string(kernel.input_width) + "x" + std::to_string(kernel.input_height);
  }
  if (kernel.factor_bits != 8) name += "b" + std::to_string(kernel.factor_bits);
  if (kernel.joins_positions) name += "j";
  if (!kernel.microkernel.empty()) name += "_" + kernel.microkernel;
  for (const Layout& input : kernel.inputs) name += "_" + text(input);
  for (const int steps : kernel.short_steps) name += "q" + std::to_string(steps);
  for (const int shift : kernel.shifts) name += "s" + std::to_string(shift);
  name += "_to_" + text(kernel.output) + "_w" + std::to_string(kernel.width);
  if (kernel.only_copies) name += "_requantized";
  for (const Layout& copy : kernel.copies) name += "_copy" + text(copy);
  if (has_weights(kernel.kind)) name += std::string("_") + ir::name_of(kernel.activation);
  if (kernel.has_residual) name += "_residual" + text(kernel.extra);
  if (kernel.epilogue == Epilogue::gates) name += "_gates" + text(kernel.extra);
  if (kernel.epilogue == Epilogue::blend) name += "_blend" + text(kernel.extra);
  if (kernel.rounding == ir::Rounding::down) name += "_down";
  if (kernel.is_signed) name += "_signed";
  if (kernel.clamps_in_16_bits) name += "_narrowed";
  if (kernel.fits_16_bits) name += "_fits";
  if (kernel.fills_bytes) name += "_full";
  if (kernel.copies_fit_16_bits) name += "_copiesfit";
  return name;
}

}  // namespace mattec::lower
