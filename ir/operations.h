// What each kind of operation is, in one table: a new one is a value of OpKind and an entry in
// operations.cpp, which does not compile without it.
#pragma once

#include "ir/interpreter_operations.h"
#include "ir/verify_internal.h"

namespace mattec::ir {

// How the output's size follows from the inputs', and what these must be.
enum class SizeRule {
  convolved,    // of equal segments; a residual has the output's
  halved,       // rounded up
  one_pixel,    // 1x1
  second_of_2,  // the second input's, at most twice the first's
  second,       // the second input's
  first,        // the first input's
  gated,        // the first input's; the second is 1x1 or as large
  equal,        // all inputs' alike
  scaled,       // by the run-time downsample ratio
};

// The same of channels.
enum class ChannelRule {
  convolution,  // Convolution says how many
  equal,        // all inputs and the output alike
  of_first,     // the first input and the output alike
  summed,       // the inputs' add up to the output's
  part,         // the output's are among the input's, from first_channel on
  listed,       // those that Op::channels lists
  one,
};

enum class Stages { all, imported, after_fusion };

struct Operation {
  const char* name;
  size_t least_inputs, most_inputs;  // a residual counts as well
  Stages stages;
  SizeRule size;
  ChannelRule channels;
  // Grids and integers of a quantized graph whose float part is sound; null: none has it.
  void (*check)(const Graph&, const Op&, const Report&);
  // The integer form; null: none has it, or a prepared one (convolve).
  void (*interpret)(const Operands&);
};

const Operation& operation_of(OpKind kind);

}  // namespace mattec::ir
