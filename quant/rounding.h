// Rounding to a grid that gradients pass through.
#pragma once

#include <torch/types.h>

#include <vector>

#include "ir/graph.h"

namespace mattec::quant {

// How the integer engine rounds a stored tensor (docs/numerics.md).
enum class GridRounding { none, nearest_even, half_up, down };
// Per tensor: none for a slice, which is a view.
std::vector<GridRounding> grid_roundings(const ir::Graph& graph);
// The same but none for outputs: a loss on truncated mattes would be biased by half a step.
std::vector<GridRounding> trained_roundings(const ir::Graph& graph);

// [N][C][H][W] rounded to the grid and clamped to its ends, as real values. With `factor` (one
// positive value; undefined = 1) the grid's scales are multiplied by it. Gradients: of the value
// inside the grid's range 1, outside 0; of the factor as in LSQ (Esser et al., 2020): what the
// result moves by if the integers stay.
torch::Tensor round_through(const torch::Tensor& value, const ir::Grid& grid, GridRounding rounding,
                            const torch::Tensor& factor = {});

}  // namespace mattec::quant
