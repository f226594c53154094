// How a convolution's sum is divided: which products each update of the accumulator covers. Plain
// data.
#pragma once

#include <vector>

namespace mattec::generators {

// A part of a segment; a step is a group of Kernel::depth channels at one position of the filter.
struct Part {
  int first = 0, steps = 0;  // groups of each position; with `along_row`, steps of a filter's row
  // With sums of 16 bits, `steps` are what one of them covers:
  int blocks = 1;             // sums one after the other
  int columns = 1, rows = 1;  // positions that one sum covers
  bool along_row = false;
};

// By segment; every product of a segment is in one part.
using Division = std::vector<std::vector<Part>>;

}  // namespace mattec::generators
