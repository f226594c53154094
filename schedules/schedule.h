// How each kernel runs on an instruction set.
#pragma once

#include "generators/generators.h"
#include "lower/kernel.h"

namespace mattec::schedules {

// What a schedule needs to know of a target.
struct Machine {
  int vector_bytes = 32;      // 64: AVX-512, 32: AVX2, 16: NEON
  int dot_product_lanes = 4;  // products a dot-product instruction sums: 4 (8 bit) or 2 (16 bit)
};

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
