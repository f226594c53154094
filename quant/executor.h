// Runs a float Graph (imported or fused) in LibTorch: float, observed or fake-quantized,
// differentiable in whatever leaves the caller passes.
#pragma once

#include <torch/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "quant/abort.h"

namespace mattec::quant {

// Weight and bias of each convolution as tensors, by operation name. Made once from a graph;
// trainers and quantizers replace entries.
struct Parameters {
  struct Entry {
    torch::Tensor weight;     // [O][I][k][k]
    torch::Tensor bias;       // [O]
    torch::Tensor gain = {};  // [O]: of the products, not of the bias; undefined = 1
  };
  std::map<std::string, Entry> of;
};
Parameters parameters_of(const ir::Graph& graph);

struct Hooks {
  // Called with every tensor as it is stored (the frame and state inputs too); what it returns
  // takes the tensor's place. Observers return it unchanged, fake quantizers return it rounded.
  std::function<torch::Tensor(ir::TensorId, const torch::Tensor&)> on_store;
  // Called before each convolution with its inputs concatenated (the residual not among them).
  std::function<void(const ir::Op&, const torch::Tensor&)> on_convolution;
  // Called with each convolution's sum, bias and residual included, before its activation.
  std::function<void(const ir::Op&, const torch::Tensor&)> on_sum;
};

class Executor {
 public:
  // `graph` must outlive the executor and be of one variant (see ir::extract).
  explicit Executor(const ir::Graph& graph);
  Executor(const ir::Graph& graph, Parameters initial);

  // One time step. frame: float [N,3,H,W], 0..1. states: one per graph state, undefined tensor =
  // zeros. Returns the graph's outputs, in order, and replaces `states`.
  std::vector<torch::Tensor> step(const torch::Tensor& frame, std::vector<torch::Tensor>& states,
                                  double downsample_ratio = 1.0);

  // One operation of the graph: reads its inputs from `values` (by tensor) and stores its output
  // there.
  void execute(const ir::Op& op, std::vector<torch::Tensor>& values,
               double downsample_ratio = 1.0) const;

  Hooks hooks;
  Parameters parameters;
  Abort abort;  // throws Aborted: asked before each operation, and when its gradient is there

 private:
  const ir::Graph& graph_;
};

}  // namespace mattec::quant
