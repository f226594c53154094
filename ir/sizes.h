// Heights and widths of a graph's tensors, from the frame's.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace mattec::ir {

struct Size {
  int height = 0;
  int width = 0;
  bool operator==(const Size& other) const {
    return height == other.height && width == other.width;
  }
  bool operator!=(const Size& other) const { return !(*this == other); }
};
std::string size_text(Size size);  // "512x288": width first, as on the command line

// Per tensor id. A state input has the size of its state's output. `downsample_ratio` is what
// `downsample` ops scale by: floor(extent * ratio), as torch's interpolate does.
// Throws Error, naming operation and sizes, where sizes do not fit together.
std::vector<Size> infer_sizes(const Graph& graph, Size frame, double downsample_ratio = 1.0);

// Output extent of a convolution along one axis.
int convolution_extent(const Convolution& conv, int input_extent);

}  // namespace mattec::ir
