// How each kernel runs on an instruction set.
#pragma once

#include "generators/generators.h"
#include "lower/kernel.h"
#include "schedules/machine.h"

namespace mattec::schedules {

// Vectors of output channels and pixels that a convolution accumulates in registers.
struct Tile {
  int lanes = 16;   // of one vector of 32-bit accumulators
  int vectors = 1;  // of channels
  int pixels = 8;
};
Tile conv_tile(const lower::Kernel& kernel, const Machine& machine);

// Schedules the pipeline's Funcs in place.
void apply(const lower::Kernel& kernel, const Machine& machine, generators::Pipeline& pipeline);

}  // namespace mattec::schedules
