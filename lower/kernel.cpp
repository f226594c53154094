#include "lower/kernel.h"

#include <algorithm>

namespace mattec::lower {
namespace {

std::string text(const Layout& layout) {
  return std::to_string(layout.channels) + "p" + std::to_string(layout.pixel_stride) + "r" +
         std::to_string(layout.row_stride);
}

const char* name_of(KernelKind kind) {
  static const char* const names[] = {"conv", "depthwise", "pool", "gate", "upsample2", "average2"};
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

std::string name_of(const Kernel& kernel) {
  std::string name = name_of(kernel.kind);
  if (kernel.kind == KernelKind::conv || kernel.kind == KernelKind::depthwise) {
    const std::string extent = std::to_string(kernel.kernel);
    name += extent + "x" + extent + "s" + std::to_string(kernel.stride) + "d" +
            std::to_string(kernel.dilation) + "l" + std::to_string(kernel.lanes);
  } else {
    name += "_" + std::to_string(kernel.input_width) + "x" + std::to_string(kernel.input_height);
  }
  for (const Layout& input : kernel.inputs) name += "_" + text(input);
  for (const int shift : kernel.shifts) name += "s" + std::to_string(shift);
  name += "_to_" + text(kernel.output) + "_w" + std::to_string(kernel.width);
  if (kernel.kind == KernelKind::conv || kernel.kind == KernelKind::depthwise)
    name += std::string("_") + ir::name_of(kernel.activation);
  if (kernel.has_residual) name += "_residual" + text(kernel.extra);
  if (kernel.epilogue == Epilogue::gates) name += "_gates" + text(kernel.extra);
  if (kernel.epilogue == Epilogue::blend)
    name += "_blend" + text(kernel.extra) + "_" + text(kernel.copy);
  if (kernel.rounding == ir::Rounding::down) name += "_down";
  return name;
}

}  // namespace mattec::lower
