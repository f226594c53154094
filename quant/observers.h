// What calibration collects while the float network plays the clips.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/grids.h"

namespace mattec::quant {

// Extremes and random samples of the tensors whose grids come from calibration at 8 or at 4 bits
// (rules: see resolved_grid_rules), as a whole and for each channel. Where a value has a gradient,
// pixels are drawn by its square: where the matte does not look, clipping does no harm (at W4A4 a
// tenth less error: docs/quantization_experiments.md).
class RangeObserver {
 public:
  // Of each step `samples_per_step` values and all channels of `positions_per_step` pixels.
  RangeObserver(const std::vector<GridRule>& rules, uint64_t seed, int samples_per_step,
                int positions_per_step);
  void see(ir::TensorId id, const torch::Tensor& value);  // [N][C][H][W]
  // After the gradients of the values seen since the last call are there.
  void add();
  // Throws Error naming a tensor that held a value that is not finite, or that was never seen.
  std::vector<ObservedRange> ranges(const ir::Graph& graph) const;

 private:
  struct Seen {
    torch::Tensor lowest, highest;  // per channel
    std::vector<float> samples, channel_samples;
  };
  struct Pending {
    size_t index = 0;
    torch::Tensor value;
    std::shared_ptr<torch::Tensor> gradient;  // filled by the backward pass; null: there is none
  };
  bool is_observed(size_t id) const;
  std::vector<GridRule> rules_;
  std::vector<Seen> seen_;
  std::vector<Pending> pending_;
  at::Generator generator_;
  int samples_per_step_, positions_per_step_;
};

// First and second moments of what a convolution multiplies its weights with, in the order of the
// weights: columns [input channel][row][column]; depthwise: one set for each channel.
struct Moments {
  torch::Tensor second;  // double: mean of x x', [K][K], or [channels][k*k][k*k]
  torch::Tensor first;   // double: mean of x, [K], or [channels][k*k]
  // double: sum of g g', [O][O], of the gradients that the positions' weights come from, over all
  // positions (estimated from those drawn), pictures weighed as for `second`; undefined for
  // depthwise convolutions and outputs that no matte sees
  torch::Tensor sensitivity = {};
};
// E[x x'] - E[x] E[x]', of the shape of `second`.
torch::Tensor covariance_of(const Moments& moments);

// Sums them up over output positions, drawn by how much the matte depends on them: by the squared
// gradient of a random projection of alpha with respect to the convolution's sums, over the root of
// what its picture's gradient squares to (at the first convolution); a tenth is drawn evenly.
// An error of a weight does no harm where the matte does not see it; at W4A8 this takes a fifth off
// the error of alpha (docs/quantization_experiments.md). Even draws that are weighed instead tell
// as much from twice as many positions.
class MomentObserver {
 public:
  MomentObserver(uint64_t seed, int positions_per_step);
  void see(const ir::Op& convolution, const torch::Tensor& input);  // [N][C][H][W], not padded
  void see_sum(const ir::Op& convolution, const torch::Tensor& sum);
  // After the gradients of the sums seen since the last call are there.
  void add();
  // Throws Error naming `convolution` if it was never seen.
  Moments moments(const ir::Op& convolution) const;

 private:
  // A sum of symmetric products, lower half, added to in double only now and then: as wide as it is
  // it would take as long as the products.
  class SlowSum {
   public:
    void add(const torch::Tensor& a, const torch::Tensor& b);  // a' b
    bool empty() const { return !recent_.defined(); }
    torch::Tensor total() const;  // symmetric

   private:
    torch::Tensor all_, recent_;
    int steps_ = 0;
  };
  struct Sums {
    SlowSum dense, sensitivity;
    torch::Tensor depthwise, first;
    double weight = 0;
  };
  struct Pending {
    const ir::Op* convolution = nullptr;
    torch::Tensor input;
    int64_t rows = 0, row_length = 0;  // of the output
    // Of the sum, filled by the backward pass.
    std::shared_ptr<torch::Tensor> gradient = std::make_shared<torch::Tensor>();
    uint64_t seed = 0;  // of its random positions
  };
  // Positions of the output, flat, [n], what each of them counts, [n], and what they were drawn by,
  // [n] (undefined where there is no gradient).
  struct Positions {
    torch::Tensor at, weight, importance;
  };
  Positions draw(const Pending& pending, const torch::Tensor& of_pictures,
                 const at::Generator& generator) const;
  // What the pictures of the last step count, [N]: 1 over the root of the squared gradient of the
  // first sums that have one. Some pictures have a hundred times the gradient of others, and
  // errors are judged clip by clip.
  torch::Tensor picture_weights() const;
  static torch::Tensor columns_of(const Pending& pending, const torch::Tensor& positions);
  static void add_sensitivity(const Pending& pending, const Positions& drawn,
                              const torch::Tensor& of_pictures, SlowSum& sensitivity);
  void add(const Pending& pending, const torch::Tensor& of_pictures, Sums& sums) const;
  std::map<std::string, Sums> sums_;
  std::vector<Pending> pending_;
  uint64_t seed_, seen_ = 0;
  int positions_per_step_;
};

}  // namespace mattec::quant
