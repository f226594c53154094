// Weights and per-channel constants in the order that kernels read them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ir/graph.h"
#include "lower/kernel.h"

namespace mattec::lower {

// One input of a convolution: channels [first, first + count) of a tensor with this grid.
struct Segment {
  int count = 0;
  const ir::Grid* grid = nullptr;
  int grid_channel = 0;    // of the grid's first entry for this segment
  int weight_channel = 0;  // of the operation's weights
  int shift = 0;
  int offset = 0;                // stored_offset
  std::vector<int> stored = {};  // where each is among those the kernel reads; empty: in order

  int stored_count() const {
    return stored.empty() ? count : *std::max_element(stored.begin(), stored.end()) + 1;
  }
  // Filter positions of a run (Runs).
  int positions = 1;
  // That a dense kernel reads: whole groups of the 4 that the narrowest tensors have.
  int padded_channels() const { return round_up(stored_count(), 4); }
};

// How a kernel's dense weights are packed. `depth`: a power of two.
struct WeightOrder {
  int depth = 4;
  int together = 1;  // output channels that lie side by side
  // Blocks of at most so many units of output channels (microkernels/blocks.h); 0: one block of
  // them all.
  int unit = 0, most_units = 0;
};

// Dense: [block][segment][row][run][group of `depth`][output channel of the block, padded][one of
// the group]; the last two as [so many `together`][one of the group][one of them]. A run is the
// padded_channels of its positions, one after the other, and zeros up to whole groups; stored
// channels that the convolution does not read have zeros, too.
std::vector<int8_t> pack_dense(const ir::Convolution& conv, const std::vector<Segment>& segments,
                               int padded_outputs, WeightOrder order);
// Depthwise: [row][column][channel, padded].
std::vector<int8_t> pack_depthwise(const ir::Convolution& conv, int padded_outputs);

// 4-bit weights, two to a byte: of each block of weight_block weights the first half in the low and
// the second half in the high halves of the bytes, so that unpacking moves no byte. Zeros fill the
// last block.
std::vector<uint8_t> pack_nibbles(const std::vector<int8_t>& weights);

// Bias with the zero points of the inputs folded in: the kernel multiplies raw integers.
std::vector<int32_t> folded_bias(const ir::Convolution& conv, const std::vector<Segment>& segments);

// The largest |sum| of an output channel over inputs that are stored as signed bytes, without bias.
int64_t signed_reach(const ir::Convolution& conv, const std::vector<Segment>& segments, int output);

// The kernel's rows of ConstantRow and CopyRow, each of its output channels rounded up to
// channel_block, entries of 4 bytes; padding gives output 0.
class Constants {
 public:
  explicit Constants(const Kernel& kernel);
  void set_int(ConstantRow row, int channel, int32_t value);
  void set_float(ConstantRow row, int channel, float value);
  // row_zero_point, row_low and row_high from a grid and an activation.
  void set_grid(int channel, const ir::Grid& grid, int grid_channel, ir::Activation activation);
  // The rows of a copy: of a tensor whose channel has this scale, on channel `grid_channel` of
  // `grid`.
  void set_copy(int copy, int channel, float scale, const ir::Grid& grid, int grid_channel);
  const std::vector<int32_t>& words() const { return words_; }

 private:
  void set(int row, int channel, int32_t value);
  void set(int row, int channel, float value);
  // Zero point and bounds (less the zero point), in three rows that follow each other.
  void set_range(int row, int channel, int32_t zero_point, int32_t low, int32_t high);

  Kernel kernel_;
  int padded_;
  std::vector<int32_t> words_;
};

}  // namespace mattec::lower
