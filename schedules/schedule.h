// How each kernel runs on an instruction set. No Halide here: a schedule is data.
#pragma once

#include <vector>

#include "generators/division.h"
#include "lower/isa.h"
#include "lower/kernel.h"

namespace mattec::schedules {

// Which loop over tiles is inside the other.
enum class Inner { columns, channels };

// The loops over one part of a convolution's sum.
struct Reduction {
  generators::Part part;
  int unrolled_groups = 1;        // of channels (with short sums: steps) in one turn of the loop
  bool unrolled_columns = false;  // of the filter (with short sums: those that one sum covers)
  // The inputs of a turn's groups are loaded as one vector, and products take its elements.
  bool by_element = false;
  bool unrolled_turns = false;  // no loop over them is left
};

// All that may differ between two ways to run a kernel, and no bit of the result: plain data, which
// choose() makes, apply() carries out and the manifest shows.
struct Schedule {
  // The output is made in tiles of `vectors` vectors of `lanes` channels times `pixels` columns,
  // whose sums stay in registers.
  int lanes = 1;
  int vectors = 1;
  int pixels = 1;
  int output_lanes = 1;  // of the vectors that are made of the sums
  Inner inner = Inner::channels;
  // conv: input rows are widened to 16 bits once, into a ring of the rows that a filter covers,
  // instead of once per use. The ring is in a buffer "scratch", the last argument before the
  // outputs.
  bool widened_rows = false;
  // What neighbours in a tile share is made once, in registers: depthwise, the inputs under a row
  // of the filter, widened to 16 bits; upsample2, sums of two rows.
  bool shared_inputs = false;
  // conv: by segment; none where a micro-kernel makes the sums, a row at a time, in "scratch".
  std::vector<std::vector<Reduction>> reductions;
};

// By a cost model.
Schedule choose(const lower::Kernel& kernel, const lower::Isa& isa);

}  // namespace mattec::schedules
