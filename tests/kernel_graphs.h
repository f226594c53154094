// Random quantized matting networks that compile: what tests/targets_kernels_test.cpp runs on every
// target and in the interpreter.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace mattec::test {

// Three levels of resolution with random operations on each, two recurrent states, a decoder and
// the outputs fgr and pha. Channel counts 1 .. `most_channels`, no multiples preferred; slices at
// any channel; kernels 1, 3, 5, dilated and strided; per-channel grids; tensors and weights of 4
// and 8 bits in any mix, and tensors on several grids.
ir::Graph random_matting_graph(uint32_t seed, int most_channels);

// Gives random channels of the graph's convolutions the values at which arithmetic breaks first:
// accumulators at the verifier's bound, multipliers of 2^-90 and 2^59, weights that are all zero or
// all the lowest, tensors that are all the highest, biases that drown the sum. The graph stays
// legal.
void make_extreme(ir::Graph& graph, uint32_t seed);

}  // namespace mattec::test
