#include "quant/reconstruct.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "ir/error.h"
#include "ir/sizes.h"
#include "quant/block_data.h"
#include "quant/block_network.h"
#include "quant/blocks.h"
#include "quant/train.h"

namespace mattec::quant {
namespace {

using torch::Tensor;
using torch::optim::Adam;
using torch::optim::AdamOptions;

size_t at(int index) { return static_cast<size_t>(index); }

// About how much alpha changes: `difference` as one error at each pixel, and as errors of channels
// on their own, weighed alike. The weight is the size of the gradient, not its square, of which a
// few pixels have nearly all. A little of the mean is added everywhere: where alpha is saturated
// there is no gradient, but larger errors would show.
Tensor weighed(const Tensor& difference, const Tensor& sensitivity) {
  constexpr double everywhere = 0.05;
  const Tensor gradient = sensitivity.to(torch::kFloat);
  const Tensor size = gradient.abs();
  const Tensor change = gradient.sign() * size.sqrt() * difference;
  return 0.5 * change.sum(1).square().sum() + 0.5 * change.square().sum() +
         everywhere * size.mean() * difference.square().sum();
}

// Runs a block over a window. `run(values)` computes a frame.
template <typename Inputs, typename Run>
Tensor error_of(const BlockWindow& window, const Block& block, const Inputs& inputs,
                const Run& run) {
  Tensor sum = torch::zeros({});
  Values before;
  for (size_t t = 0; t < window.exact.frames.size(); ++t) {
    Values values = inputs(t, before);
    run(values);
    for (const ir::TensorId id : block.outputs) {
      const Tensor& sensitivity = window.sensitivity[t][at(id)];
      if (!sensitivity.defined()) continue;
      sum = sum + weighed(values[at(id)] - window.exact.frames[t][at(id)], sensitivity);
    }
    before = std::move(values);
  }
  return sum;
}

// Of the integers of `quantized`, in each window.
std::vector<double> errors_of(const std::vector<BlockWindow>& windows, const BlockData& data,
                              const Block& block, const ir::Graph& quantized) {
  const torch::NoGradGuard no_gradients;
  const Executor executor = block_simulator(quantized);
  std::vector<double> errors;
  for (const BlockWindow& window : windows) {
    const auto inputs = [&](size_t t, const Values& before) {
      return data.inputs(window.quantized, block, t, before);
    };
    const auto run = [&](Values& values) { run_block(quantized, block, executor, values); };
    errors.push_back(error_of(window, block, inputs, run).item<double>());
  }
  return errors;
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Geometric mean over windows of what `now` is of `before`. A hundredth of the mean is added: a
// window with hardly any error must not decide.
double ratio_of(const std::vector<double>& now, const std::vector<double>& before) {
  const double slack = 0.01 * mean_of(before) + 1e-12;
  double sum = 0;
  for (size_t i = 0; i < now.size(); ++i) sum += std::log((now[i] + slack) / (before[i] + slack));
  return std::exp(sum / static_cast<double>(now.size()));
}

// Multiplications and stored values of a block, as processor time goes.
double cost_of(const ir::Graph& graph, const Block& block, const std::vector<ir::Size>& sizes) {
  constexpr double of_value = 200;  // multiplications
  double cost = 0;
  for (const int i : block.ops) {
    const ir::Op& op = graph.ops[at(i)];
    const ir::Size size = sizes[at(op.output)];
    const double pixels = static_cast<double>(size.width) * size.height;
    cost += of_value * pixels * graph.tensor(op.output).channels;
    if (op.kind == ir::OpKind::conv)
      cost += pixels * static_cast<double>(op.conv.quantized_weight.size());
  }
  return cost;
}

// Steps of each block: those of the cheap ones are more, by the square root of the cost; all
// together cost as much as `mean` steps of every block.
std::vector<int> steps_of(const std::vector<double>& costs, int mean) {
  double all = 0, roots = 0;
  for (const double cost : costs) all += cost, roots += std::sqrt(cost);
  std::vector<int> steps;
  steps.reserve(costs.size());
  for (const double cost : costs)
    steps.push_back(std::max(1, static_cast<int>(mean * all / (roots * std::sqrt(cost)))));
  return steps;
}

class BlockTrainer {
 public:
  BlockTrainer(const ir::Graph& fused, const ir::Graph& quantized, const Block& block,
               const BlockData& data, const ReconstructionOptions& options, uint64_t seed)
      : block_(block),
        data_(data),
        options_(options),
        network_(quantized, fused, block, seed),
        engine_(seed),
        generator_(at::detail::createCPUGenerator(seed + 1)),
        before_(errors_of(data.training(), data, block, quantized)),
        slack_(0.01 * mean_of(before_)) {}

  // Whether the matte depends on anything here that can change.
  bool has_work() const { return slack_ > 0 && !network_.roundings().empty(); }
  ir::Graph folded() const { return network_.folded(); }

  void train(int steps, std::vector<double>& losses) {
    if (options_.method == Reconstruction::qdrop) {
      std::vector<Tensor> slow = network_.biases();
      slow.insert(slow.end(), network_.scales().begin(), network_.scales().end());
      pass(steps, slow, Pass::joint, losses);
      return;
    }
    pass(steps * 3 / 4, network_.biases(), Pass::roundings, losses);
    std::vector<Tensor> slow = network_.biases();
    slow.insert(slow.end(), network_.scales().begin(), network_.scales().end());
    pass(steps - steps * 3 / 4, slow, Pass::scales, losses);
  }

 private:
  enum class Pass { roundings, scales, joint };

  void pass(int steps, const std::vector<Tensor>& slow, Pass pass, std::vector<double>& losses) {
    const bool rounds = pass != Pass::scales;
    const double dropped = pass == Pass::joint ? 0.5 : pass == Pass::roundings ? 1 : 0;
    const double rounding_rate = std::min(0.05, 6.0 / steps);
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(slow, std::make_unique<AdamOptions>(slow_rate));
    if (rounds)
      groups.emplace_back(network_.roundings(), std::make_unique<AdamOptions>(rounding_rate));
    Adam optimizer(groups);
    Balance balance(network_.roundings().size());
    for (int step = 0; step < steps; ++step) {
      if (options_.stop && options_.stop()) return;
      const double share = static_cast<double>(step) / steps;
      const double cosine = 0.5 * (1 + std::cos(M_PI * share));
      options_of(optimizer, 0).lr(slow_rate * cosine);
      optimizer.zero_grad();
      network_.prepare(rounds ? BlockNetwork::Weights::soft : BlockNetwork::Weights::hard, dropped);
      Tensor loss = next_loss(pass == Pass::joint);
      losses.push_back(loss.item<double>());
      loss.backward();
      if (rounds) decide(share, balance);
      optimizer.step();
    }
  }

  // How strong the gradients of the error on the roundings of each convolution are; those of the
  // indecision are made as strong.
  struct Balance {
    explicit Balance(size_t convolutions) : strength(convolutions, 0) {}
    std::vector<double> strength;
    int steps = 0;
  };

  // First the error alone decides, then more and more of the weights have to.
  void decide(double share, Balance& balance) {
    const std::vector<Tensor> roundings = network_.roundings();
    if (share < free_share) {
      for (size_t i = 0; i < roundings.size(); ++i)
        if (roundings[i].grad().defined())
          balance.strength[i] += std::sqrt(roundings[i].grad().square().mean().item<double>());
      ++balance.steps;
      return;
    }
    const double beta = 20 + (2 - 20) * (share - free_share) / (1 - free_share);
    const std::vector<Tensor> indecision = network_.indecision(beta);
    Tensor sum = torch::zeros({});
    for (size_t i = 0; i < roundings.size(); ++i)
      sum = sum + balance.strength[i] / std::max(1, balance.steps) * indecision[i];
    sum.backward();
  }

  // Of a random window, over what it was before; windows count alike.
  Tensor next_loss(bool mixed) {
    const size_t i = engine_() % data_.training().size();
    const BlockWindow& window = data_.training()[i];
    const auto inputs = [&](size_t t, const Values& before) {
      Values values = data_.inputs(window.quantized, block_, t, before);
      if (!mixed) return values;
      for (const ir::TensorId id : block_.inputs) {
        const Tensor rounded = torch::rand(values[at(id)].sizes(), generator_) >= 0.5;
        values[at(id)] = torch::where(rounded, values[at(id)], window.exact.frames[t][at(id)]);
      }
      return values;
    };
    return error_of(window, block_, inputs, [this](Values& values) { network_.run(values); }) /
           (before_[i] + slack_);
  }

  static AdamOptions& options_of(Adam& optimizer, size_t group) {
    return static_cast<AdamOptions&>(optimizer.param_groups()[group].options());
  }

  static constexpr double slow_rate = 3e-3, free_share = 0.2;
  const Block& block_;
  const BlockData& data_;
  const ReconstructionOptions& options_;
  BlockNetwork network_;
  std::mt19937_64 engine_;
  at::Generator generator_;
  std::vector<double> before_;  // of each window
  double slack_;
};

// Takes `changed` over where it is better.
void judge(ir::Graph changed, const Block& block, const BlockData& data, ir::Graph& result,
           std::vector<double>& alpha, ReconstructedBlock& entry) {
  entry.ratio = ratio_of(errors_of(data.validation(), data, block, changed),
                         errors_of(data.validation(), data, block, result));
  std::vector<double> now = data.alpha_errors(changed);
  entry.alpha_ratio = ratio_of(now, alpha);
  if (!entry.is_kept()) return;
  result = std::move(changed);
  alpha = std::move(now);
}

// Brings the record back to the last whole block, and the network too; returns the block that is
// next.
size_t go_on(ReconstructionRecord& record, ir::Graph& network) {
  if (!record.stopped) return 0;
  ReconstructionRecord::Stopped stopped = std::move(*record.stopped);
  record.stopped.reset();
  network = std::move(stopped.network);
  record.blocks.resize(stopped.blocks);
  record.loss.resize(stopped.steps);
  return stopped.blocks;
}

}  // namespace

void require_reconstruction_clips(const std::vector<Clip>& clips,
                                  const ReconstructionOptions& options) {
  TrainingOptions training;
  training.window = options.window;
  training.warm_up = options.warm_up;
  require_training_clips(clips, training);
}

ir::Graph reconstruct(const ir::Graph& fused, const ir::Graph& quantized,
                      const std::vector<Clip>& clips, const ReconstructionOptions& options,
                      ReconstructionRecord& record, const Progress& progress) {
  require_reconstruction_clips(clips, options);
  const std::vector<Block> blocks = blocks_of(quantized);
  BlockData data(fused, quantized, blocks, clips, options);
  const Frame& frame = clips[0][0];
  const std::vector<ir::Size> sizes = ir::infer_sizes(quantized, {frame.height, frame.width});
  std::vector<double> costs;
  costs.reserve(blocks.size());
  for (const Block& block : blocks) costs.push_back(cost_of(quantized, block, sizes));
  const std::vector<int> steps = steps_of(costs, options.steps);
  double done = 0, all = 0;
  for (size_t b = 0; b < blocks.size(); ++b) all += costs[b] * steps[b];
  ir::Graph result = quantized;
  const size_t first = go_on(record, result);
  for (size_t b = 0; b < first; ++b) {
    data.teach(blocks[b]);
    data.advance(blocks[b], result);
    done += costs[b] * steps[b];
  }
  std::vector<double> alpha = data.alpha_errors(result);
  for (size_t b = first; b < blocks.size(); ++b) {
    const ReconstructionRecord::Stopped before = {result, b, record.loss.size()};
    if (options.stop && options.stop()) {
      record.stopped = before;
      break;
    }
    const Block& block = blocks[b];
    data.teach(block);
    BlockTrainer trainer(fused, result, block, data, options, options.seed * 1000 + b);
    ReconstructedBlock entry{block.name};
    if (trainer.has_work()) {
      trainer.train(steps[b], record.loss);
      entry.steps = static_cast<int>(record.loss.size() - before.steps);
      if (entry.steps < steps[b]) record.stopped = before;
      judge(trainer.folded(), block, data, result, alpha, entry);
    }
    record.blocks.push_back(entry);
    if (record.stopped) break;
    data.advance(block, result);
    done += costs[b] * steps[b];
    if (progress)
      progress(done / all, "reconstructing, block " + std::to_string(b + 1) + " of " +
                               std::to_string(blocks.size()) + " (" + block.name +
                               "), error of alpha " + std::to_string(1e3 * mean_of(alpha)) + "e-3");
  }
  return result;
}

}  // namespace mattec::quant
