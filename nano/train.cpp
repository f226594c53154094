// Trains the embedded network on generated clips and writes its weights:
//   mattec_train_nano [--iterations N] [--seed N] -o nano.safetensors
// One thread and one seed: the same machine gives the same weights.
#include <fmt/core.h>
#include <malloc.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/utils.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>

#include "frontend/networks.h"
#include "ir/safetensors.h"
#include "nano/clip_generator.h"
#include "quant/executor.h"

namespace mattec::nano {
namespace {

using torch::Tensor;
using Tensors = std::vector<Tensor>;

// Seeds below are for training; held-out clips (here and in the tests) have seeds from here on.
constexpr uint64_t first_held_out_seed = 1'000'000;

// One time step of a batch of clips, values 0 .. 1.
struct Step {
  Tensor frame, foreground;  // [N][3][H][W]
  Tensor alpha;              // [N][1][H][W]
};

Tensor tensor_of(std::vector<uint8_t>& bytes, int height, int width, int channels) {
  return torch::from_blob(bytes.data(), {height, width, channels}, torch::kUInt8)
      .permute({2, 0, 1})
      .to(torch::kFloat)
      .div_(255);
}

struct BatchShape {
  int clips, width, height, steps;
};

// `shape.steps` frames of `shape.clips` clips with seeds from `first_seed` on, each entered at
// another moment, every second frame or every frame.
std::vector<Step> make_batch(uint64_t first_seed, const BatchShape& shape) {
  const auto steps = static_cast<size_t>(shape.steps);
  std::vector<Tensors> frames(steps), foregrounds(steps), alphas(steps);
  for (int n = 0; n < shape.clips; ++n) {
    const uint64_t seed = first_seed + static_cast<uint64_t>(n);
    const ClipGenerator clip(seed, shape.width, shape.height);
    const int begin = static_cast<int>(seed % 97), stride = 1 + static_cast<int>(seed % 2);
    for (size_t t = 0; t < steps; ++t) {
      ClipFrame frame = clip.frame(begin + static_cast<int>(t) * stride);
      frames[t].push_back(tensor_of(frame.frame, frame.height, frame.width, 3));
      foregrounds[t].push_back(tensor_of(frame.foreground, frame.height, frame.width, 3));
      alphas[t].push_back(tensor_of(frame.alpha, frame.height, frame.width, 1));
    }
  }
  std::vector<Step> batch;
  for (size_t t = 0; t < steps; ++t) {
    batch.push_back(
        {torch::stack(frames[t]), torch::stack(foregrounds[t]), torch::stack(alphas[t])});
  }
  return batch;
}

Tensor half_size(const Tensor& x) {
  return torch::avg_pool2d(x, 2, 2, 0, /*ceil_mode=*/true, /*count_include_pad=*/false);
}
Tensor resized_like(const Tensor& x, const Tensor& like) {
  return torch::upsample_bilinear2d(x, {like.size(2), like.size(3)}, /*align_corners=*/false);
}

// L1 between the bands of two Laplacian pyramids: edges and strands, which plain L1 neglects.
Tensor laplacian_loss(Tensor x, Tensor y, int levels) {
  Tensor loss = torch::zeros({});
  double weight = 1;
  for (int level = 0; level < levels; ++level, weight *= 2) {
    const Tensor x_low = half_size(x), y_low = half_size(y);
    loss = loss + weight * torch::l1_loss(x - resized_like(x_low, x), y - resized_like(y_low, y));
    x = x_low;
    y = y_low;
  }
  return loss / levels;
}

// The part of "a.b.weight" before its last dot, the convolution's name, and whether a weight
// follows.
std::string owner(const std::string& parameter) {
  return parameter.substr(0, parameter.rfind('.'));
}
bool is_weight(const std::string& parameter) {
  return parameter.compare(parameter.rfind('.') + 1, std::string::npos, "weight") == 0;
}
bool is_refiner(const std::string& parameter) { return parameter.rfind("refiner.", 0) == 0; }
bool is_box_filter(const std::string& parameter) {
  return parameter.rfind("refiner.box_filter", 0) == 0;
}

frontend::Weights blank_weights(const std::vector<frontend::Parameter>& parameters) {
  frontend::Weights weights;
  for (const frontend::Parameter& parameter : parameters) {
    int64_t count = 1;
    for (const int64_t extent : parameter.shape) count *= extent;
    const float value = is_box_filter(parameter.name) ? 1.0F / 9 : 0;  // a mean, not trained
    weights[parameter.name] = {parameter.shape,
                               std::vector<float>(static_cast<size_t>(count), value)};
  }
  return weights;
}

class Trainer {
 public:
  Trainer(const frontend::NetworkShape& shape, uint64_t seed);

  // Of a batch from an empty state. `ratio` 1: the direct variant; else the refined one.
  Tensor loss_of(const std::vector<Step>& batch, double ratio);
  // Mean absolute difference of alpha over clips that were never trained on, times 1000.
  double held_out_mad(const BatchShape& shape, double ratio);
  Tensors leaves(bool refiner) const;
  void save(const std::string& path) const;

 private:
  struct Variant {  // of the network, with its operations by what they make
    explicit Variant(ir::Graph extracted);
    ir::Graph graph;
    quant::Executor executor;
    std::map<ir::TensorId, const ir::Op*> producers;
    Tensor before_clamp;
  };
  void initialise();
  void install(Variant& variant);
  void scale_to_unit_variance(const Step& step);
  Tensors run(const Tensor& frame, Tensors& states, double ratio);

  frontend::NetworkShape shape_;
  std::vector<frontend::Parameter> parameters_;
  std::map<std::string, Tensor> leaves_;  // by parameter name
  std::unique_ptr<Variant> direct_, refined_;
};

Trainer::Variant::Variant(ir::Graph extracted) : graph(std::move(extracted)), executor(graph) {
  for (const ir::Op& op : graph.ops) producers[op.output] = &op;
}

Trainer::Trainer(const frontend::NetworkShape& shape, uint64_t seed)
    : shape_(shape), parameters_(frontend::parameters(shape)) {
  torch::manual_seed(seed);
  const ir::Graph graph = frontend::build_network(shape, blank_weights(parameters_));
  direct_ = std::make_unique<Variant>(ir::extract(graph, ir::Variant::direct));
  refined_ = std::make_unique<Variant>(ir::extract(graph, ir::Variant::refined));
  initialise();
  install(*direct_);
  install(*refined_);
  scale_to_unit_variance(make_batch(seed, {4, 128, 128, 1}).front());
  for (auto& [name, leaf] : leaves_) leaf.requires_grad_(true);
}

void Trainer::initialise() {
  for (const frontend::Parameter& parameter : parameters_) {
    if (is_box_filter(parameter.name)) continue;
    Tensor leaf = torch::zeros(parameter.shape);
    if (is_weight(parameter.name)) {
      leaf.normal_(0, std::sqrt(2.0 / static_cast<double>(leaf[0].numel())));  // He et al. 2015
    }
    // Start near a grey matte and the frame's own colours; the refiner near the low matte.
    const std::string name = owner(parameter.name);
    if (name == "project_mat.conv") leaf.mul_(0.1);
    if (name == "refiner.conv.6") leaf.mul_(0.01);
    leaves_[parameter.name] = leaf;
  }
  leaves_.at("project_mat.conv.bias").index_put_({3}, 0.4);
}

// Makes the variant compute with the leaves. Clamping stops the gradient where it is needed most,
// at pixels that are wrong by more than the range: in training it passes as if nothing clamped.
void Trainer::install(Variant& variant) {
  for (auto& [name, entry] : variant.executor.parameters.of) {
    const auto weight = leaves_.find(name + ".weight"), bias = leaves_.find(name + ".bias");
    if (weight != leaves_.end()) entry.weight = weight->second;
    if (bias != leaves_.end()) entry.bias = bias->second;
  }
  variant.executor.hooks.on_store = [&variant](ir::TensorId id, const Tensor& value) {
    const auto op = variant.producers.find(id);
    const bool clamped = op != variant.producers.end() &&
                         op->second->kind == ir::OpKind::activation &&
                         op->second->activation == ir::Activation::clamp01;
    Tensor result =
        clamped ? variant.before_clamp + (value - variant.before_clamp).detach() : value;
    variant.before_clamp = value;  // a clamp follows its input
    return result;
  };
}

// In place of batch normalisation: scales every convolution, in order, to outputs of zero mean and
// unit variance on one batch (Mishkin, Matas 2016).
void Trainer::scale_to_unit_variance(const Step& step) {
  const torch::NoGradGuard no_gradients;
  const auto trained = direct_->executor.hooks.on_store;
  direct_->executor.hooks.on_store = [this](ir::TensorId id, const Tensor& value) {
    const auto op = direct_->producers.find(id);
    const bool spatial = value.size(2) > 1 && value.size(3) > 1;
    if (op == direct_->producers.end() || op->second->kind != ir::OpKind::conv || !spatial ||
        op->second->name == "project_mat.conv") {
      return value;
    }
    const Tensor mean = value.mean({0, 2, 3}),
                 deviation = value.std({0, 2, 3}, /*unbiased=*/false).clamp_min(1e-3);
    leaves_.at(op->second->name + ".weight").div_(deviation.view({-1, 1, 1, 1}));
    leaves_.at(op->second->name + ".bias").sub_(mean).div_(deviation);
    return (value - mean.view({1, -1, 1, 1})) / deviation.view({1, -1, 1, 1});
  };
  Tensors states;
  direct_->executor.step(step.frame, states);
  direct_->executor.hooks.on_store = trained;
}

Tensors Trainer::run(const Tensor& frame, Tensors& states, double ratio) {
  Variant& variant = ratio == 1 ? *direct_ : *refined_;
  return variant.executor.step(frame, states, ratio);
}

Tensor Trainer::loss_of(const std::vector<Step>& batch, double ratio) {
  Tensors states, alphas, true_alphas, foregrounds, true_foregrounds;
  for (const Step& step : batch) {
    const Tensors outputs = run(step.frame, states, ratio);  // foreground, alpha
    const Tensor visible = (step.alpha > 0).to(torch::kFloat);
    foregrounds.push_back(outputs[0] * visible);
    true_foregrounds.push_back(step.foreground * visible);
    alphas.push_back(outputs[1]);
    true_alphas.push_back(step.alpha);
  }
  const auto change = [](const Tensor& x) {
    return x.narrow(0, 1, x.size(0) - 1) - x.narrow(0, 0, x.size(0) - 1);
  };
  const Tensor alpha = torch::stack(alphas), true_alpha = torch::stack(true_alphas);
  const Tensor foreground = torch::stack(foregrounds),
               true_foreground = torch::stack(true_foregrounds);
  // The loss of Robust Video Matting: values, edges, and that they change over time as they should.
  return torch::l1_loss(alpha, true_alpha) +
         laplacian_loss(alpha.flatten(0, 1), true_alpha.flatten(0, 1), 4) +
         5 * torch::mse_loss(change(alpha), change(true_alpha)) +
         torch::l1_loss(foreground, true_foreground) +
         5 * torch::mse_loss(change(foreground), change(true_foreground));
}

double Trainer::held_out_mad(const BatchShape& shape, double ratio) {
  const torch::NoGradGuard no_gradients;
  Tensors states;
  double sum = 0;
  const std::vector<Step> batch = make_batch(first_held_out_seed, shape);
  for (const Step& step : batch) {
    sum += torch::l1_loss(run(step.frame, states, ratio)[1], step.alpha).item<double>();
  }
  return 1000 * sum / static_cast<double>(batch.size());
}

Tensors Trainer::leaves(bool refiner) const {
  Tensors found;
  for (const auto& [name, leaf] : leaves_) {
    if (is_refiner(name) == refiner) found.push_back(leaf);
  }
  return found;
}

void Trainer::save(const std::string& path) const {
  ir::Container container;
  container.metadata["architecture"] = shape_.name;
  const frontend::Weights blank = blank_weights(parameters_);
  for (const frontend::Parameter& parameter : parameters_) {
    std::vector<float> values = blank.at(parameter.name).values;
    const auto leaf = leaves_.find(parameter.name);
    if (leaf != leaves_.end()) {
      const Tensor flat = leaf->second.detach().contiguous();
      values.assign(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
    }
    container.arrays[parameter.name] = ir::Array::of(values, parameter.shape);
  }
  ir::write_safetensors(container, path);
}

struct Schedule {
  int iterations = 0;
  double learning_rate = 0;
  double ratio = 1;
  bool refiner = false;
  std::vector<BatchShape> shapes;  // taken in turn; the first is the progress report's
};

// Adam, the learning rate rising over the first iterations and then falling to zero as a cosine.
void train(Trainer& trainer, const Schedule& schedule, uint64_t& next_seed,
           const std::string& path) {
  constexpr int warm_up = 40, report = 50;
  torch::optim::Adam adam(trainer.leaves(schedule.refiner));
  const auto start = std::chrono::steady_clock::now();
  double loss_sum = 0;
  for (int i = 0; i < schedule.iterations; ++i) {
    const double rise = std::min(1.0, (i + 1.0) / warm_up);
    const double fall = 0.5 + 0.5 * std::cos(M_PI * i / schedule.iterations);
    for (auto& group : adam.param_groups()) {
      static_cast<torch::optim::AdamOptions&>(group.options())
          .lr(schedule.learning_rate * rise * fall);
    }
    const BatchShape& shape = schedule.shapes[static_cast<size_t>(i) % schedule.shapes.size()];
    const std::vector<Step> batch = make_batch(next_seed, shape);
    next_seed += static_cast<uint64_t>(shape.clips);
    adam.zero_grad();
    const Tensor loss = trainer.loss_of(batch, schedule.ratio);
    loss.backward();
    torch::nn::utils::clip_grad_norm_(trainer.leaves(schedule.refiner), 1.0);
    adam.step();
    loss_sum += loss.item<double>();
    if ((i + 1) % report != 0 && i + 1 != schedule.iterations) continue;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print("{}{:5}/{}  loss {:.4f}  held-out MAD {:.1f}e-3  {:.0f} s left\n",
               schedule.refiner ? "refiner " : "", i + 1, schedule.iterations,
               loss_sum / (i % report + 1),
               trainer.held_out_mad(schedule.shapes[0], schedule.ratio),
               seconds / (i + 1) * (schedule.iterations - i - 1));
    std::fflush(stdout);
    loss_sum = 0;
    trainer.save(path);
  }
}

void train_network(const std::string& path, int iterations, uint64_t seed) {
  torch::set_num_threads(1);
  // Tensors come and go by the thousand: keeping their memory in the process saves the kernel a
  // quarter of the time. 32 MiB is the most that glibc takes.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  Trainer trainer(frontend::nano(), seed);
  uint64_t next_seed = 1000 * seed;
  // Landscape, portrait, near and far; long sequences teach the states to last.
  const std::vector<BatchShape> shapes = {{3, 256, 144, 4}, {4, 96, 160, 5},  {1, 400, 224, 4},
                                          {4, 160, 96, 5},  {2, 192, 192, 5}, {1, 192, 112, 16}};
  train(trainer, {iterations, 4e-3, 1, false, shapes}, next_seed, path);
  const std::vector<BatchShape> larger = {{2, 256, 144, 4}, {2, 160, 224, 4}, {1, 512, 288, 4}};
  train(trainer, {iterations / 12, 4e-3, 0.5, true, larger}, next_seed, path);
  fmt::print("held-out MAD {:.2f}e-3 at 256x144, {:.2f}e-3 at 512x288 with downsample ratio 0.5\n",
             trainer.held_out_mad({12, 256, 144, 24}, 1),
             trainer.held_out_mad({6, 512, 288, 12}, 0.5));
}

}  // namespace
}  // namespace mattec::nano

namespace {

int run(int argc, char** argv) {
  CLI::App app("Trains the embedded network of mattec on generated clips.");
  int iterations = 2400;
  uint64_t seed = 1;
  std::string path;
  app.add_option("--iterations", iterations, "training steps")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--seed", seed, "for weights and clips")->capture_default_str();
  app.add_option("-o,--output", path, "weights to write, safetensors")->required();
  CLI11_PARSE(app, argc, argv);
  mattec::nano::train_network(path, iterations, seed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "mattec_train_nano: %s\n", error.what());
    return 1;
  }
}
