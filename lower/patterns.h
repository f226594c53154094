// Groups of operations that one kernel computes.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"
#include "lower/plan.h"

namespace mattec::lower {

// r, z = sigmoid(conv_ih(x, h)); c = tanh(conv_hh(x, r * h)); h' = h + z (c - h).
struct Gru {
  int gates = -1;                      // operation indices: conv_ih
  int product = -1;                    // mul(r, h)
  int candidate = -1;                  // conv_hh
  int update = -1;                     // blend
  int channels = 0;                    // of h
  ir::TensorId state = ir::no_tensor;  // h
};

// Every blend must be part of one; throws Error naming the blend otherwise.
std::vector<Gru> find_grus(const ir::Graph& graph);

// Kernels replace a state in place. Throws Error where a state is not updated by a GRU of its own,
// or where an operation would read the old state after its update.
void check_states(const ir::Graph& graph, const std::vector<Gru>& grus);

// Where the convolutions that make "fgr" and "pha" read the same tensors in the same way and
// nothing reads what they make: the graph with one of four channels, "matte", in their place, and
// slices of it. Else the graph as it is.
ir::Graph merge_matte(const ir::Graph& graph);

// Which results of a frame each tensor is needed for, as bits of Wanted; 0: for nothing but its
// size. Throws Error where there is no "pha".
std::vector<int> find_wanted(const ir::Graph& graph);

}  // namespace mattec::lower
