// Where sums of pairs are as narrow as 16 bits: which products each of them covers. Plain data.
#pragma once

#include <vector>

namespace mattec::generators {

// A part of a segment whose 16-bit sums take equally many steps; a step is a group of 4 channels at
// one position of the filter.
struct PairSums {
  int first = 0, steps = 0;   // groups of each position; with `along_row`, steps of a filter's row
  int blocks = 1;             // sums one after the other, `steps` each
  int columns = 1, rows = 1;  // positions that one sum covers
  bool along_row = false;
};

// By segment; every product of a segment is in one part.
using PairDivision = std::vector<std::vector<PairSums>>;

}  // namespace mattec::generators
