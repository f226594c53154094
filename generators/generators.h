// The algorithms of the kernels, unscheduled: what is computed, not in what order. schedules/
// decides the order; docs/numerics.md derives the arithmetic.
#pragma once

#include <string>
#include <vector>

#include "Halide.h"
#include "generators/division.h"
#include "lower/kernel.h"

namespace mattec::generators {

// A kernel's pipeline with the handles that a schedule needs.
struct Pipeline {
  std::vector<Halide::Argument> arguments;  // first_row, row_count, then lower::Kernel's buffers
  Halide::Func output;
  Halide::Var c{"c"}, x{"x"}, y{"y"};  // of `output` and `accumulator`
  Halide::Var half{"half"};            // of a pair sum: which two of a group's four channels
  // conv, depthwise: the integer accumulator; its updates add one segment each (and shift).
  Halide::Func accumulator;
  struct Update {
    int index = 0;                 // of the accumulator's update definition
    Halide::RDom domain;           // conv: lane, group of channels, column, row; a shift has none
    size_t segment = 0, part = 0;  // of the Division
    Halide::Func staged = {};      // products: the inputs, for a schedule to load by vectors
    // Sums of 16 bits: the accumulator adds `partial` for each block of `steps` (step, column,
    // row). Of pairs: its two halves, which are the domain's first dimension.
    Halide::Func pair = {}, partial = {};
    Halide::RDom steps = {};
  };
  std::vector<Update> updates;
  // What a schedule may keep for its neighbours. conv: the segments, widened; depthwise: the input,
  // widened; upsample2: sums of two rows.
  std::vector<Halide::Func> inputs;
};

// `division`: of a convolution. `microkernel`: the function that kernel.microkernel is in this
// library.
Pipeline build(const lower::Kernel& kernel, const Division& division,
               const std::string& microkernel);

// --- one builder per kernel kind, used by build() ---
Pipeline build_conv(const lower::Kernel& kernel, const Division& division,
                    const std::string& microkernel);
// Part of build_conv: the accumulator by a call of the function `microkernel`.
void call_microkernel(const lower::Kernel& kernel, const std::string& microkernel,
                      const std::vector<Halide::ImageParam>& inputs,
                      const Halide::ImageParam& weights, const Halide::ImageParam& constants,
                      Pipeline& made);
Pipeline build_depthwise(const lower::Kernel& kernel);
Pipeline build_global_avg_pool(const lower::Kernel& kernel);
Pipeline build_gate(const lower::Kernel& kernel);
Pipeline build_upsample2(const lower::Kernel& kernel);
Pipeline build_avg_pool2(const lower::Kernel& kernel);
Pipeline build_requantize(const lower::Kernel& kernel);
Pipeline build_unpack(const lower::Kernel& kernel);
Pipeline build_widen(const lower::Kernel& kernel);

}  // namespace mattec::generators
