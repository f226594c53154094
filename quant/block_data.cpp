#include "quant/block_data.h"

#include <ATen/CPUGeneratorImpl.h>

#include <random>

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

}  // namespace

BlockData::BlockData(const ir::Graph& fused, const ir::Graph& quantized,
                     const std::vector<Block>& blocks, const std::vector<Clip>& clips,
                     const ReconstructionOptions& options)
    : blocks_(blocks),
      graph_(quantized),
      exact_graph_(with_float_borders(quantized, fused)),
      exact_(exact_graph_, channels_last_executor(fused).parameters),
      start_(block_simulator(quantized)),
      alpha_(alpha_output(fused)),
      passed_on_(quantized.tensors.size(), false),
      last_read_(quantized.tensors.size(), -1),
      generator_(at::detail::createCPUGenerator(options.seed + 4)) {
  for (size_t b = 0; b < blocks.size(); ++b) {
    for (const ir::TensorId id : blocks[b].outputs) passed_on_[at(id)] = true;
    for (const ir::TensorId id : blocks[b].inputs) last_read_[at(id)] = static_cast<int>(b);
  }
  std::mt19937_64 engine(options.seed);
  for (size_t i = 0; i < clips.size(); ++i)
    for (int k = 0; k < options.windows_per_clip; ++k) {
      // Every second window starts as a clip does, with empty states.
      const size_t warm_up = k % 2 == 0 ? 0 : at(options.warm_up);
      const size_t first = engine() % (clips[i].size() - warm_up - at(options.window) + 1);
      const bool altered = engine() % 3 != 0 && !is_validation_clip(i);
      Clip frames(clips[i].begin() + static_cast<long>(first),
                  clips[i].begin() + static_cast<long>(first + warm_up + at(options.window)));
      const ColourJitter jitter(engine());
      if (altered)
        for (Frame& frame : frames) frame = jitter(frame);
      (is_validation_clip(i) ? validation_ : training_).push_back(window(frames, warm_up));
    }
}

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

void BlockData::find_sensitivity(BlockWindow& window, const std::vector<Tensor>& frames) {
  const torch::AutoGradMode gradients(true);
  std::vector<Values> seen;
  exact_.hooks.on_store = [&](ir::TensorId id, const Tensor& value) {
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
      if (passed_on_[at(id)] || last_read_[at(id)] >= 0) network.frames[t][at(id)] = values[at(id)];
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
  const Executor executor = block_simulator(quantized);
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
  const Executor executor = block_simulator(quantized);
  std::vector<double> errors;
  for (const BlockWindow& window : validation_) errors.push_back(alpha_error(window, executor));
  return errors;
}

}  // namespace mattec::quant
