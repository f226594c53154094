// An instruction set as lowering and schedules see it: plain data, one record per target.
#pragma once

#include <string>

namespace mattec::lower {

// What a convolution costs beside its dot products, in dot products.
struct ConvolutionCosts {
  double weight_load = 0.5;       // shared by the pixels of a tile
  double input_broadcast = 0.15;  // shared by the vectors of a tile
  // Fewer accumulators leave the dot product's latency uncovered.
  int covering_accumulators = 8;
  // Before and after a tile's sums: loop ends that are predicted wrongly, filling the pipeline.
  double tile = 30;
};

// C that adds up a convolution's sums (microkernels/), by an instruction that Halide has no pattern
// for.
struct MicroKernel {
  std::string name;  // "smmla": microkernels/smmla.c; empty: there is none
  // Of packed weights (WeightOrder).
  int depth = 4, together = 1, unit = 0, most_units = 0;
  int most_segments = 0, most_runs = 0;  // that it takes (Runs), of all segments
};

struct Isa {
  int vector_bytes = 64;
  int vector_registers = 32;

  // Bytes that dot products take as inputs are signed; weights always are. Tensors are then stored
  // less half of their grid.
  bool signed_inputs = false;

  // The dot product sums this many products in each lane of 32 bits. Its factors have 8 bits;
  // or 16, and kernels read both widened.
  int dot_product_depth = 4;
  int factor_bits = 8;
  // Dot products take their inputs from an element of a vector.
  bool by_element = false;
  // Take the place of dot products of 8-bit factors; of sums of 16 bits.
  MicroKernel microkernel = {}, short_microkernel = {};
  // Products of 8 bits that an instruction adds to each sum of 16: 2 (vpmaddubsw), 1 (smlal of
  // bytes, by the micro-kernel). Where one operand has 4 bits, sums stay there for as long as they
  // fit. 0: there is none.
  int short_products = 0;

  // Sums of 32 bits take products of 16-bit factors in one instruction (smlal), where those of 8
  // bits are widened and added: depthwise, the latter is 1.4 times as many instructions (RVM).
  bool widening_products = false;

  // Floats are converted to the nearest integer, ties to even, and narrowed to 16 bits with
  // saturation, by an instruction each: what follows a sum is then clamped in 16 bits. Without, it
  // is clamped as floats.
  bool saturating_narrowing = false;
  // Channels that kernels without dot products compute at once, and that a convolution's epilogue
  // does at most.
  int value_lanes = 16;

  // Accumulators that a convolution's tile may take; the other registers hold weights, inputs and
  // constants. Those of 16 bits: with short sums.
  int accumulators = 26;
  int accumulators_16_bits = 8;
  ConvolutionCosts convolution;

  // For cutting steps into tasks, in multiplications of a dense convolution: a depthwise one, and a
  // byte of output.
  double depthwise_product = 8;
  double output_byte = 20;
};

}  // namespace mattec::lower
