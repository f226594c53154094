#include "quant/block_data.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/utils.h>

#include <numeric>
#include <random>
#include <string>
#include <utility>

#include "ir/sizes.h"
#include "quant/jitter.h"
#include "quant/play.h"
#include "quant/reconstruct.h"
#include "quant/simulate.h"
#include "quant/training_windows.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

size_t at(int index) { return static_cast<size_t>(index); }

// At random, `length` frames; two of three times, unless they validate, in other colours.
Clip part_of(const Clip& clip, size_t length, bool validates, std::mt19937_64& engine) {
  const size_t first = engine() % (clip.size() - length + 1);
  const bool altered = engine() % 3 != 0 && !validates;
  Clip frames(clip.begin() + static_cast<long>(first),
              clip.begin() + static_cast<long>(first + length));
  const ColourJitter jitter(engine());
  if (altered)
    for (Frame& frame : frames) frame = jitter(frame);
  return frames;
}

}  // namespace

Tensor weighed_error(const Tensor& difference, const Tensor& sensitivity) {
  constexpr double everywhere = 0.05;
  const Tensor gradient = sensitivity.to(torch::kFloat);
  const Tensor size = gradient.abs();
  const Tensor change = gradient.sign() * size.sqrt() * difference;
  return 0.5 * change.sum(1).square().sum() + 0.5 * change.square().sum() +
         everywhere * size.mean() * difference.square().sum();
}

Tensor alpha_change(const Tensor& difference, const Tensor& sensitivity) {
  const Tensor size = sensitivity.to(torch::kFloat).abs();
  return size.square().sum() / size.sum().clamp_min(1e-30) * weighed_error(difference, sensitivity);
}

Tensor block_error(const BlockWindow& window, const Block& block,
                   const std::function<Values(size_t t, const Values& before)>& inputs,
                   const std::function<void(Values&)>& run, Measure measure) {
  Tensor sum = torch::zeros({});
  Values before;
  for (size_t t = 0; t < window.exact.frames.size(); ++t) {
    Values values = inputs(t, before);
    run(values);
    for (const ir::TensorId id : block.outputs) {
      const Tensor& sensitivity = window.sensitivity[t][at(id)];
      if (!sensitivity.defined()) continue;
      sum = sum + measure(values[at(id)] - window.exact.frames[t][at(id)], sensitivity);
    }
    before = std::move(values);
  }
  return sum;
}

BlockData::BlockData(const ir::Graph& fused, const ir::Graph& quantized,
                     const std::vector<Block>& blocks, const std::vector<Clip>& clips,
                     const ReconstructionOptions& options, const Progress& progress)
    : blocks_(blocks),
      graph_(quantized),
      exact_graph_(with_float_borders(quantized, fused)),
      abort_(options.abort),
      exact_(exact_graph_, channels_last_executor(fused).parameters),
      start_(block_simulator(quantized, abort_)),
      alpha_(alpha_output(fused)),
      passed_on_(quantized.tensors.size(), false),
      last_read_(quantized.tensors.size(), -1),
      generator_(at::detail::createCPUGenerator(options.seed + 4)) {
  exact_.abort = abort_;
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (const ir::TensorId id : blocks[b].outputs) passed_on_[at(id)] = true;
    for (const ir::TensorId id : blocks[b].inputs) last_read_[at(id)] = static_cast<int>(b);
  }
  play(clips, options, progress);
}

void BlockData::play(const std::vector<Clip>& clips, const ReconstructionOptions& options,
                     const Progress& progress) {
  std::mt19937_64 engine(options.seed);
  const size_t all = clips.size() * at(options.windows_per_clip);
  for (size_t made = 0; made < all; ++made) {
    if (options.stop && options.stop()) return;
    const size_t clip = made / at(options.windows_per_clip);
    // Every second window of a clip starts as a clip does, with empty states.
    const bool is_start = made % at(options.windows_per_clip) % 2 == 0;
    const size_t warm_up = is_start ? 0 : at(options.warm_up);
    const bool validates = is_validation_clip(clip);
    add_window(part_of(clips[clip], warm_up + at(options.window), validates, engine), warm_up,
               validates);
    if (progress)
      progress(static_cast<double>(made + 1) / static_cast<double>(all),
               "playing windows, " + std::to_string(made + 1) + " of " + std::to_string(all));
  }
  is_complete_ = true;
}

void BlockData::add_window(const Clip& frames, size_t warm_up, bool validates) {
  BlockWindow made = window(frames, warm_up);
  if (!validates) own_errors_.push_back(own_errors(made));
  made.exact.frames = made.quantized.frames;  // the rest comes again, block after block
  (validates ? validation_ : training_).push_back(std::move(made));
}

// With all that blocks of the float network read and pass on.
BlockWindow BlockData::window(const Clip& frames, size_t warm_up) {
  BlockWindow window;
  std::vector<Tensor>&exact = window.exact.states, &quantized = window.quantized.states;
  exact.resize(graph_.states.size());
  quantized.resize(graph_.states.size());
  std::vector<Tensor> inputs;
  for (size_t t = 0; t < frames.size(); ++t) {
    const Tensor input = network_input(frames[t]);
    if (t < warm_up) {
      const torch::NoGradGuard no_gradients;
      exact_.step(input, exact);
      start_.step(input, quantized);
      continue;
    }
    inputs.push_back(input);
    Values values(graph_.tensors.size());
    values[at(graph_.frame)] = input;
    window.exact.frames.push_back(values);
    window.quantized.frames.push_back(values);
  }
  set_empty_states(window, inputs[0]);
  find_sensitivity(window, inputs);
  return window;
}

// Zeros of the states' sizes.
void BlockData::set_empty_states(BlockWindow& window, const Tensor& frame) const {
  const std::vector<ir::Size> sizes =
      ir::infer_sizes(graph_, {static_cast<int>(frame.size(2)), static_cast<int>(frame.size(3))});
  for (size_t s = 0; s < graph_.states.size(); ++s) {
    const ir::TensorId id = graph_.states[s].input;
    const ir::Size size = sizes[at(id)];
    for (BlockWindow::Network* network : {&window.exact, &window.quantized})
      if (!network->states[s].defined())
        network->states[s] = torch::zeros({1, graph_.tensor(id).channels, size.height, size.width});
  }
}

// Keeps the float network's values, since they are there.
void BlockData::find_sensitivity(BlockWindow& window, const std::vector<Tensor>& frames) {
  const torch::AutoGradMode gradients(true);
  std::vector<Values> seen;
  exact_.hooks.on_store = [&](ir::TensorId id, const Tensor& value) {
    if (is_shared(at(id))) window.exact.frames[seen.size() - 1][at(id)] = value.detach();
    if (passed_on_[at(id)] && value.requires_grad()) {
      value.retain_grad();
      seen.back()[at(id)] = value;
    }
    return value;
  };
  std::vector<Tensor> states = window.exact.states;
  Tensor projection = torch::zeros({});
  for (const Tensor& frame : frames) {
    seen.emplace_back(graph_.tensors.size());
    const Tensor leaf = frame.detach().requires_grad_(true);  // something to differentiate by
    const Tensor alpha = exact_.step(leaf, states)[alpha_];
    window.alpha.push_back(alpha.detach());
    const Tensor signs = torch::randint(2, alpha.sizes(), generator_, torch::kFloat) * 2 - 1;
    projection = projection + (alpha * signs).sum();
  }
  projection.backward();
  exact_.hooks.on_store = {};
  for (const Values& values : seen) {
    window.sensitivity.emplace_back(values.size());
    for (size_t id = 0; id < values.size(); ++id)
      if (values[id].defined() && values[id].grad().defined())
        window.sensitivity.back()[id] = values[id].grad().to(torch::kBFloat16);
  }
}

std::vector<double> BlockData::own_errors(const BlockWindow& window) const {
  const torch::NoGradGuard no_gradients;
  std::vector<double> errors;
  errors.reserve(blocks_.size());
  for (const Block& block : blocks_) {
    const auto inputs_of = [&](size_t t, const Values& before) {
      return inputs(window.exact, block, t, before);
    };
    const auto run = [&](Values& values) { run_block(graph_, block, start_, values); };
    errors.push_back(block_error(window, block, inputs_of, run, alpha_change).item<double>());
  }
  return errors;
}

std::vector<double> BlockData::gains() const {
  const auto sum_of = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  double sum = 0;
  for (const std::vector<double>& errors : own_errors_) sum += sum_of(errors);
  const auto windows = static_cast<double>(own_errors_.size());
  // Some windows have a hundred times the error of others: shares make them alike. One with hardly
  // any error has little to tell.
  const double slack = 0.01 * sum / windows + 1e-12;
  std::vector<double> gains(blocks_.size(), 0);
  for (const std::vector<double>& errors : own_errors_) {
    const double all = sum_of(errors) + slack;
    for (size_t b = 0; b < gains.size(); ++b) gains[b] += errors[b] / all / windows;
  }
  return gains;
}

Values BlockData::inputs(const BlockWindow::Network& network, const Block& block, size_t t,
                         const Values& before) const {
  Values values(graph_.tensors.size());
  for (const ir::TensorId id : block.inputs) values[at(id)] = network.frames[t][at(id)];
  for (const int s : block.states) {
    const ir::State& state = graph_.states[at(s)];
    values[at(state.input)] = t == 0 ? network.states[at(s)] : before[at(state.output)];
  }
  return values;
}

void BlockData::run(BlockWindow::Network& network, const Block& block, const Executor& executor) {
  Values before;
  for (size_t t = 0; t < network.frames.size(); ++t) {
    Values values = inputs(network, block, t, before);
    run_block(graph_, block, executor, values);
    for (const int i : block.ops) {
      const ir::TensorId id = graph_.ops[at(i)].output;
      if (is_shared(at(id))) network.frames[t][at(id)] = values[at(id)];
    }
    before = std::move(values);
  }
}

void BlockData::let_go(BlockWindow& window) const {
  for (std::vector<Values>* frames :
       {&window.exact.frames, &window.quantized.frames, &window.sensitivity})
    for (Values& values : *frames)
      for (size_t id = 0; id < values.size(); ++id)
        if (last_read_[id] == done_) values[id] = Tensor();
}

void BlockData::teach(const Block& block) {
  const torch::NoGradGuard no_gradients;
  for (std::vector<BlockWindow>* windows : {&training_, &validation_})
    for (BlockWindow& window : *windows) run(window.exact, block, exact_);
}

void BlockData::advance(const Block& block, const ir::Graph& quantized) {
  const torch::NoGradGuard no_gradients;
  const Executor executor = block_simulator(quantized, abort_);
  for (std::vector<BlockWindow>* windows : {&training_, &validation_})
    for (BlockWindow& window : *windows) {
      run(window.quantized, block, executor);
      let_go(window);
    }
  ++done_;
}

double BlockData::alpha_error(const BlockWindow& window, const Executor& executor) const {
  const BlockWindow::Network& network = window.quantized;
  double sum = 0;
  Values before;
  for (size_t t = 0; t < network.frames.size(); ++t) {
    Values values = network.frames[t];
    for (size_t b = at(done_); b < blocks_.size(); ++b) {
      for (const int s : blocks_[b].states) {
        const ir::State& state = graph_.states[at(s)];
        values[at(state.input)] = t == 0 ? network.states[at(s)] : before[at(state.output)];
      }
      run_block(graph_, blocks_[b], executor, values);
    }
    const Tensor& alpha = values[at(graph_.outputs[alpha_].tensor)];
    sum += (alpha - window.alpha[t]).abs().mean().item<double>();
    before = std::move(values);
  }
  return sum / static_cast<double>(network.frames.size());
}

std::vector<double> BlockData::alpha_errors(const ir::Graph& quantized) const {
  const torch::NoGradGuard no_gradients;
  const Executor executor = block_simulator(quantized, abort_);
  std::vector<double> errors;
  for (const BlockWindow& window : validation_) errors.push_back(alpha_error(window, executor));
  return errors;
}

}  // namespace mattec::quant
