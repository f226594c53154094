#include "quant/reconstruct.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/optim/adam.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <utility>

#include "base/error.h"
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

// Of the integers of `quantized`, in each window.
std::vector<double> errors_of(const std::vector<BlockWindow>& windows, const BlockData& data,
                              const Block& block, const ir::Graph& quantized, const Abort& abort) {
  const torch::NoGradGuard no_gradients;
  const Executor executor = block_simulator(quantized, abort);
  std::vector<double> errors;
  for (const BlockWindow& window : windows) {
    const auto inputs = [&](size_t t, const Values& before) {
      return data.inputs(window.quantized, block, t, before);
    };
    const auto run = [&](Values& values) { run_block(quantized, block, executor, values); };
    errors.push_back(block_error(window, block, inputs, run, weighed_error).item<double>());
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

std::vector<double> costs_of(const ir::Graph& graph, const std::vector<Block>& blocks,
                             const Frame& frame) {
  const std::vector<ir::Size> sizes = ir::infer_sizes(graph, {frame.height, frame.width});
  std::vector<double> costs;
  costs.reserve(blocks.size());
  for (const Block& block : blocks) costs.push_back(cost_of(graph, block, sizes));
  return costs;
}

// Steps of each block, and how far the whole is: windows are played first, then steps count by
// their cost.
class Plan {
 public:
  Plan(std::vector<double> costs, const std::vector<double>& gains, int mean, double playing)
      : costs_(std::move(costs)), steps_(steps_of(gains, costs_, mean)), playing_(playing) {
    for (size_t b = 0; b < costs_.size(); ++b) {
      before_.push_back(all_);
      all_ += costs_[b] * steps_[b];
    }
  }
  int steps(size_t block) const { return steps_[block]; }
  double fraction(size_t block, int step) const {
    return playing_ + (1 - playing_) * (before_[block] + costs_[block] * step) / all_;
  }

  // The share of the windows in the whole's time. To play one takes as long as one and a half steps
  // of every block.
  static double playing(size_t clips, const ReconstructionOptions& options) {
    const double windows = 1.5 * static_cast<double>(clips) * options.windows_per_clip;
    return windows / (windows + options.steps);
  }

 private:
  std::vector<double> costs_;
  std::vector<int> steps_;
  double playing_;
  std::vector<double> before_;  // of each block: what those before it cost
  double all_ = 0;
};

class BlockTrainer {
 public:
  BlockTrainer(const ir::Graph& fused, const ir::Graph& quantized, const Block& block,
               const BlockData& data, const ReconstructionOptions& options, uint64_t seed)
      : block_(block),
        data_(data),
        options_(options),
        network_(quantized, fused, block, seed, options.abort),
        engine_(seed),
        generator_(at::detail::createCPUGenerator(seed + 1)),
        before_(errors_of(data.training(), data, block, quantized, options.abort)),
        slack_(0.01 * mean_of(before_)) {}

  // Whether the matte depends on anything here that can change.
  bool has_work() const { return slack_ > 0 && !network_.roundings().empty(); }
  ir::Graph folded() const { return network_.folded(); }

  // Returns how many steps it made: fewer where it was stopped. `after_step` is told how many they
  // are so far.
  int train(int steps, std::vector<double>& losses, std::function<void(int)> after_step) {
    after_step_ = std::move(after_step);
    std::vector<Tensor> slow = network_.biases();
    slow.insert(slow.end(), network_.scales().begin(), network_.scales().end());
    if (options_.method == Reconstruction::qdrop) {
      pass(steps, slow, Pass::joint, losses);
    } else {
      pass(steps * 3 / 4, network_.biases(), Pass::roundings, losses);
      pass(steps - steps * 3 / 4, slow, Pass::scales, losses);
    }
    return made_;
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
      after_step_(++made_);
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
    const auto run = [this](Values& values) { network_.run(values); };
    return block_error(window, block_, inputs, run, weighed_error) / (before_[i] + slack_);
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
  std::function<void(int)> after_step_;
  int made_ = 0;  // steps
};

// Takes `changed` over where it is better.
void judge(ir::Graph changed, const Block& block, const BlockData& data, const Abort& abort,
           ir::Graph& result, std::vector<double>& alpha, ReconstructedBlock& entry) {
  entry.ratio = ratio_of(errors_of(data.validation(), data, block, changed, abort),
                         errors_of(data.validation(), data, block, result, abort));
  std::vector<double> now = data.alpha_errors(changed);
  entry.alpha_ratio = ratio_of(now, alpha);
  if (!entry.is_kept()) return;
  result = std::move(changed);
  alpha = std::move(now);
}

// For people.
std::string place_of(const std::vector<Block>& blocks, size_t b) {
  return "reconstructing, block " + std::to_string(b + 1) + " of " + std::to_string(blocks.size()) +
         " (" + blocks[b].name + "), ";
}

bool is_like(const ir::Graph& a, const ir::Graph& b) {
  return a.tensors.size() == b.tensors.size() &&
         std::equal(a.ops.begin(), a.ops.end(), b.ops.begin(), b.ops.end(),
                    [](const ir::Op& x, const ir::Op& y) { return x.name == y.name; });
}

// What is left where the block that is begun is dropped.
using Whole = ReconstructionRecord::Stopped;

// Brings the record, which was stopped, back to the last whole block of `blocks`.
Whole go_on(ReconstructionRecord& record, size_t blocks, const ir::Graph& quantized) {
  Whole whole = std::move(*record.stopped);
  if (whole.blocks > std::min(blocks, record.blocks.size()) || whole.steps > record.loss.size() ||
      !is_like(whole.network, quantized))
    throw Error("reconstruct: the state to go on from is damaged, or of another network");
  record.blocks.resize(whole.blocks);
  record.loss.resize(whole.steps);
  record.stopped.reset();
  return whole;
}

// One block of the network `whole`, from where the others stand; false where it was stopped.
bool reconstruct_block(const ir::Graph& fused, const Block& block, int steps, BlockData& data,
                       const ReconstructionOptions& options, Whole& whole,
                       std::vector<double>& alpha, ReconstructionRecord& record,
                       const std::function<void(int)>& after_step) {
  data.teach(block);
  BlockTrainer trainer(fused, whole.network, block, data, options,
                       options.seed * 1000 + whole.blocks);
  ReconstructedBlock entry{block.name};
  ir::Graph result = whole.network;
  if (trainer.has_work()) {
    entry.steps = trainer.train(steps, record.loss, after_step);
    judge(trainer.folded(), block, data, options.abort, result, alpha, entry);
  }
  record.blocks.push_back(entry);
  if (trainer.has_work() && entry.steps < steps) {
    record.stopped = whole;
    whole.network = std::move(result);
    return false;
  }
  whole = {std::move(result), record.blocks.size(), record.loss.size()};
  data.advance(block, whole.network);
  return true;
}

// From `whole` on, which is always what is left if this throws Aborted.
ir::Graph reconstruct_from(Whole& whole, const ir::Graph& fused, const ir::Graph& quantized,
                           const std::vector<Clip>& clips, const ReconstructionOptions& options,
                           ReconstructionRecord& record, const Progress& progress) {
  const std::vector<Block> blocks = blocks_of(quantized);
  const double playing = Plan::playing(clips.size(), options);
  BlockData data(fused, quantized, blocks, clips, options,
                 [&](double fraction, const std::string& what) {
                   if (progress) progress(playing * fraction, what);
                 });
  if (!data.is_complete()) {
    record.stopped = whole;
    return whole.network;
  }
  const Plan plan(costs_of(quantized, blocks, clips[0][0]), data.gains(), options.steps, playing);
  const auto tell = [&](size_t b, int step, const std::string& what) {
    if (progress) progress(plan.fraction(b, step), place_of(blocks, b) + what);
  };
  const size_t first = whole.blocks;
  for (size_t b = 0; b < first; ++b) {
    data.teach(blocks[b]);
    data.advance(blocks[b], whole.network);
    tell(b, plan.steps(b), "as it was");
  }
  std::vector<double> alpha = data.alpha_errors(whole.network);
  for (size_t b = first; b < blocks.size(); ++b) {
    if (options.stop && options.stop()) {
      record.stopped = whole;
      break;
    }
    const int steps = plan.steps(b);
    const bool is_whole = reconstruct_block(
        fused, blocks[b], steps, data, options, whole, alpha, record, [&](int step) {
          tell(b, step, "step " + std::to_string(step) + " of " + std::to_string(steps));
        });
    if (!is_whole) break;
    tell(b, steps, "error of alpha " + std::to_string(1e3 * mean_of(alpha)) + "e-3");
  }
  return whole.network;
}

}  // namespace

void require_reconstruction_clips(const std::vector<Clip>& clips,
                                  const ReconstructionOptions& options) {
  TrainingOptions training;
  training.window = options.window;
  training.warm_up = options.warm_up;
  require_training_clips(clips, training);
}

std::vector<int> steps_of(const std::vector<double>& gains, const std::vector<double>& costs,
                          int mean) {
  double all = 0, roots = 0;
  for (size_t b = 0; b < costs.size(); ++b) {
    all += costs[b];
    roots += std::sqrt(gains[b] * costs[b]);
  }
  const double by_root = roots > 0 ? std::max(0, mean - 1) * all / roots : 0;
  std::vector<int> steps;
  steps.reserve(costs.size());
  for (size_t b = 0; b < costs.size(); ++b)
    steps.push_back(1 + static_cast<int>(std::lround(by_root * std::sqrt(gains[b] / costs[b]))));
  return steps;
}

ir::Graph reconstruct(const ir::Graph& fused, const ir::Graph& quantized,
                      const std::vector<Clip>& clips, const ReconstructionOptions& options,
                      ReconstructionRecord& record, const Progress& progress) {
  require_reconstruction_clips(clips, options);
  Whole whole = {quantized, 0, 0};
  if (record.stopped) whole = go_on(record, blocks_of(quantized).size(), quantized);
  try {
    return reconstruct_from(whole, fused, quantized, clips, options, record, progress);
  } catch (const Aborted&) {
    record.blocks.resize(whole.blocks);
    record.loss.resize(whole.steps);
    record.stopped = whole;
    return whole.network;
  }
}

}  // namespace mattec::quant
