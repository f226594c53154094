// An instruction set as lowering and schedules see it: plain data, one record per target.
#pragma once

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
  // Products of 8 bits that an instruction adds to each sum of 16: 2 (vpmaddubsw), 1 (smlal of
  // bytes). Where one operand has 4 bits, sums stay there for as long as they fit. 0: there is
  // none.
  int short_products = 0;

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
  ConvolutionCosts short_convolution;  // with short sums

  // For cutting steps into tasks, in multiplications of a dense convolution: a depthwise one, and a
  // byte of output.
  double depthwise_product = 8;
  double output_byte = 20;
};

}  // namespace mattec::lower
