// What block reconstruction learns from: windows of calibration clips, carried from block to block
// by the float network and the quantized one side by side.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

#include "ir/graph.h"
#include "quant/block_network.h"
#include "quant/blocks.h"
#include "quant/calibrate.h"
#include "quant/executor.h"
#include "quant/frames.h"

namespace mattec::quant {

struct ReconstructionOptions;

// Some frames in a row. Tensors are there from the block that makes them to the last that reads
// them.
struct BlockWindow {
  struct Network {
    std::vector<Values> frames;
    std::vector<torch::Tensor> states;  // before the first frame
  };
  Network exact, quantized;
  // Gradient of a random projection of alpha with respect to what blocks pass on, bfloat16.
  std::vector<Values> sensitivity;
  std::vector<torch::Tensor> alpha;  // the float network's
};

// About how much alpha changes: `difference` as one error at each pixel, and as errors of channels
// on their own, weighed alike. The weight is the size of the gradient, not its square, of which a
// few pixels have nearly all. A little of the mean is added everywhere: where alpha is saturated
// there is no gradient, but larger errors would show.
torch::Tensor weighed_error(const torch::Tensor& difference, const torch::Tensor& sensitivity);

// The same times the gradient's size where there is one: the square of a change of alpha, whatever
// the tensor's unit is. Those of different tensors compare.
torch::Tensor alpha_change(const torch::Tensor& difference, const torch::Tensor& sensitivity);

using Measure = torch::Tensor (*)(const torch::Tensor& difference,
                                  const torch::Tensor& sensitivity);

// Sum over frames and over what the block passes on. `inputs` is what it reads in frame `t`, where
// the frame before has the values `before`; `run` computes a frame.
torch::Tensor block_error(const BlockWindow& window, const Block& block,
                          const std::function<Values(size_t t, const Values& before)>& inputs,
                          const std::function<void(Values&)>& run, Measure measure);

class BlockData {
 public:
  // Plays the windows. `fused`: what `quantized` was made from. The graphs and `blocks` must
  // outlive it.
  BlockData(const ir::Graph& fused, const ir::Graph& quantized, const std::vector<Block>& blocks,
            const std::vector<Clip>& clips, const ReconstructionOptions& options,
            const Progress& progress = {});
  BlockData(const BlockData&) = delete;  // the executor holds the address of its graph
  BlockData& operator=(const BlockData&) = delete;

  // False where `stop` of the options ended the playing; then it is of no use.
  bool is_complete() const { return is_complete_; }

  // Of each block: its share of the error that blocks of the start make by themselves, from the
  // float network's values. Mean over training windows, which count alike.
  std::vector<double> gains() const;

  // The float network's outputs of the block, in every window.
  void teach(const Block& block);
  // Those of the quantized network, `quantized` being its present form. Blocks are taken in their
  // order; what no later one reads is let go.
  void advance(const Block& block, const ir::Graph& quantized);

  // Mean |alpha - float alpha| of each validation window if the network, from the block to advance
  // by on, were `quantized`.
  std::vector<double> alpha_errors(const ir::Graph& quantized) const;

  const std::vector<BlockWindow>& training() const { return training_; }
  const std::vector<BlockWindow>& validation() const { return validation_; }

  // The block's inputs and state, as its operations expect them: of frame `t` of a window, states
  // being what `before` holds unless it is the first.
  Values inputs(const BlockWindow::Network& network, const Block& block, size_t t,
                const Values& before) const;

 private:
  void play(const std::vector<Clip>& clips, const ReconstructionOptions& options,
            const Progress& progress);
  void add_window(const Clip& frames, size_t warm_up, bool validates);
  BlockWindow window(const Clip& frames, size_t warm_up);
  void set_empty_states(BlockWindow& window, const torch::Tensor& frame) const;
  void find_sensitivity(BlockWindow& window, const std::vector<torch::Tensor>& frames);
  std::vector<double> own_errors(const BlockWindow& window) const;
  // Whether other blocks read the tensor, or are compared by it.
  bool is_shared(size_t id) const { return passed_on_[id] || last_read_[id] >= 0; }
  void run(BlockWindow::Network& network, const Block& block, const Executor& executor);
  void let_go(BlockWindow& window) const;

  double alpha_error(const BlockWindow& window, const Executor& executor) const;

  const std::vector<Block>& blocks_;
  const ir::Graph& graph_;  // the quantized one as it was at first, for its operations
  const ir::Graph exact_graph_;
  const Abort abort_;
  Executor exact_, start_;
  size_t alpha_;
  std::vector<bool> passed_on_;  // per tensor: an output of a block
  std::vector<int> last_read_;   // per tensor: number of the last other block that reads it, or -1
  int done_ = 0;                 // blocks advanced by
  at::Generator generator_;
  std::vector<BlockWindow> training_, validation_;
  std::vector<std::vector<double>> own_errors_;  // of each training window: by block, of the start
  bool is_complete_ = false;
};

}  // namespace mattec::quant
