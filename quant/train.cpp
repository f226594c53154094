#include "quant/train.h"

#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adam.h>
#include <torch/serialize/archive.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "base/error.h"
#include "quant/flow.h"
#include "quant/play.h"
#include "quant/trainable.h"
#include "quant/training_windows.h"

namespace mattec::quant {
namespace {

using torch::Tensor;

// Layers whose outputs should stay close to the teacher's: those that end a block of the encoder
// (projections), decoder convolutions and recurrent candidates.
std::vector<ir::TensorId> watched_layers(const ir::Graph& fused) {
  std::vector<ir::TensorId> watched;
  for (const ir::Op& op : fused.ops) {
    if (op.kind != ir::OpKind::conv || op.conv.depthwise) continue;
    const bool is_linear =
        op.activation == ir::Activation::none || op.activation == ir::Activation::tanh;
    const bool is_dense = op.conv.kernel > 1 && op.activation == ir::Activation::relu;
    if (is_linear || is_dense) watched.push_back(op.output);
  }
  return watched;
}

class Teacher {
 public:
  Teacher(const ir::Graph& fused, const Abort& abort)
      : alpha_(alpha_output(fused)), executor_(channels_last_executor(fused)) {
    executor_.abort = abort;
    for (const ir::TensorId id : watched_layers(fused)) layers_[id] = Tensor();
    executor_.hooks.on_store = [this](ir::TensorId id, const Tensor& value) {
      const auto found = layers_.find(id);
      if (found != layers_.end()) found->second = value;
      return value;
    };
  }
  // The exact matte where the frame has one, else the float network's.
  Tensor alpha(const Frame& frame, std::vector<Tensor>& states) {
    const torch::NoGradGuard no_gradients;
    Tensor alpha = executor_.step(network_input(frame), states)[alpha_];
    if (frame.alpha.empty()) return alpha;
    return torch::tensor(frame.alpha).view({1, 1, frame.height, frame.width}) / 255.0;
  }
  // The float network's, of the last frame.
  const std::map<ir::TensorId, Tensor>& layers() const { return layers_; }

 private:
  size_t alpha_;
  Executor executor_;
  std::map<ir::TensorId, Tensor> layers_;
};

class Trainer {
 public:
  Trainer(const ir::Graph& fused, const ir::Graph& quantized, const std::vector<Clip>& clips,
          const TrainingOptions& options)
      : options_(options),
        clips_(clips),
        teacher_(fused, options.abort),
        student_(quantized, options.abort),
        alpha_(alpha_output(fused)),
        windows_(clips, options.window, options.warm_up, options.seed) {
    if (options.affine) parameters_ = student_.affine();
    parameters_.insert(parameters_.end(), student_.scales().begin(), student_.scales().end());
    for (const Tensor& parameter : parameters_) average_.push_back(parameter.detach().clone());
    student_.on_output = [this](ir::TensorId id, const Tensor& value) { add_layer(id, value); };
  }
  Trainer(const Trainer&) = delete;  // the hooks hold its address
  Trainer& operator=(const Trainer&) = delete;

  // What validation compares with: before the first one.
  void teach_validation() {
    for (size_t i = 0; i < clips_.size(); ++i)
      if (is_validation_clip(i)) teach_validation(i);
  }

  double train_on_next_window(torch::optim::Optimizer& optimizer) {
    optimizer.zero_grad();
    Tensor loss = loss_of(windows_.next());
    loss.backward();
    torch::nn::utils::clip_grad_norm_(parameters_, options_.gradient_norm);
    optimizer.step();
    const torch::NoGradGuard no_gradients;
    for (size_t i = 0; i < parameters_.size(); ++i)
      average_[i].lerp_(parameters_[i].detach(), options_.average);
    return loss.item<double>();
  }

  // Of the averaged parameters.
  double validation_error() {
    const torch::NoGradGuard no_gradients;
    swap_in_average();
    double sum = 0;
    for (const Validation& clip : validation_) {
      std::vector<Tensor> states;
      double error = 0;
      for (size_t t = 0; t < clip.taught.size(); ++t) {
        const Tensor alpha = student_.step(network_input(clip.frames[t]), states)[alpha_];
        error += (alpha - clip.taught[t]).abs().mean().item<double>();
      }
      sum += std::log(error / static_cast<double>(clip.taught.size()) + 1e-9);
    }
    swap_in_average();
    return std::exp(sum / static_cast<double>(validation_.size()));
  }

  void keep() {
    const torch::NoGradGuard no_gradients;
    kept_.clear();
    for (const Tensor& average : average_) kept_.push_back(average.clone());
  }

  ir::Graph kept() {
    const torch::NoGradGuard no_gradients;
    for (size_t i = 0; i < parameters_.size(); ++i) parameters_[i].copy_(kept_[i]);
    return student_.folded();
  }

  const std::vector<Tensor>& parameters() const { return parameters_; }

  // All that the steps from here on depend on, but for what the constructor was given.
  void write(torch::serialize::OutputArchive& archive) const {
    windows_.write(archive);
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const std::string number = std::to_string(i);
      archive.write("parameter" + number, parameters_[i].detach());
      archive.write("average" + number, average_[i]);
      archive.write("kept" + number, kept_[i]);
    }
  }
  void read(torch::serialize::InputArchive& archive) {
    const torch::NoGradGuard no_gradients;
    windows_.read(archive);
    kept_.clear();
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const std::string number = std::to_string(i);
      Tensor parameter, average, kept;
      archive.read("parameter" + number, parameter);
      parameters_[i].copy_(parameter);
      archive.read("average" + number, average);
      average_[i] = average;
      archive.read("kept" + number, kept);
      kept_.push_back(kept);
    }
  }

 private:
  void swap_in_average() {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const Tensor parameter = parameters_[i].detach().clone();
      parameters_[i].copy_(average_[i]);
      average_[i] = parameter;
    }
  }

  struct Validation {
    Clip frames;
    std::vector<Tensor> taught;  // the teacher's mattes
  };

  // The clip itself, and its subject before the next clip of its size.
  void teach_validation(size_t index) {
    const Clip& clip = clips_[index];
    const size_t count = std::min(clip.size(), static_cast<size_t>(options_.validation_frames));
    teach_validation({clip.begin(), clip.begin() + static_cast<std::ptrdiff_t>(count)});
    const Clip first = validation_.back().frames;
    for (size_t i = 1; i < clips_.size(); ++i) {
      const Clip& behind = clips_[(index + i) % clips_.size()];
      if (!is_like(behind, clip) || behind.size() < count) continue;
      return teach_validation(composed(first, behind));
    }
  }

  void teach_validation(Clip frames) {
    Validation validation{std::move(frames), {}};
    std::vector<Tensor> states;
    for (const Frame& frame : validation.frames)
      validation.taught.push_back(teacher_.alpha(frame, states));
    validation_.push_back(std::move(validation));
  }

  // The subject of a clip, by the teacher's mattes, before another clip.
  Clip composed(const Clip& frames, const Clip& behind) {
    std::vector<Tensor> states;
    Clip result;
    for (size_t t = 0; t < frames.size(); ++t)
      result.push_back(quant::composed(frames[t], teacher_.alpha(frames[t], states), behind[t]));
    return result;
  }

  void add_layer(ir::TensorId id, const Tensor& value) {
    const auto layer = teacher_.layers().find(id);
    if (!torch::GradMode::is_enabled() || layer == teacher_.layers().end()) return;
    if (value.numel() < 2) return;  // has no variance
    const Tensor error = torch::mse_loss(value, layer->second) / (layer->second.var() + 1e-8);
    layer_error_ = layer_error_.defined() ? layer_error_ + error : error;
  }

  Tensor loss_of(Window window) {
    if (!window.behind.empty()) window.frames = composed(window.frames, window.behind);
    std::vector<Tensor> teacher_states, states;
    Tensor loss = torch::zeros({}), before, taught_before;
    for (size_t t = 0; t < window.frames.size(); ++t) {
      const Tensor frame = network_input(window.frames[t]);
      const Tensor taught = teacher_.alpha(window.frames[t], teacher_states);
      if (static_cast<int>(t) < window.warm_up) {
        const torch::NoGradGuard no_gradients;
        student_.step(frame, states);
        continue;
      }
      layer_error_ = Tensor();
      const Tensor alpha = student_.step(frame, states)[alpha_];
      loss = loss + torch::l1_loss(alpha, taught);
      if (layer_error_.defined())
        loss = loss +
               options_.layer_weight / static_cast<double>(teacher_.layers().size()) * layer_error_;
      if (options_.flow && before.defined()) {
        const Flow flow = flow_to_previous(window.frames[t - 1], window.frames[t]);
        const Tensor change = alpha - warp(before, flow),
                     wanted = taught - warp(taught_before, flow);
        loss = loss + options_.flow_weight * ((change - wanted).abs() * flow.seen).mean();
      }
      before = alpha;
      taught_before = taught;
    }
    return loss / options_.window;
  }

  const TrainingOptions& options_;
  const std::vector<Clip>& clips_;
  Teacher teacher_;
  TrainableNetwork student_;
  size_t alpha_;
  Windows windows_;
  std::vector<Tensor> parameters_, average_, kept_;
  std::vector<Validation> validation_;
  Tensor layer_error_;
};

std::string state_of(const Trainer& trainer, const torch::optim::Adam& optimizer) {
  torch::serialize::OutputArchive archive, moments;
  trainer.write(archive);
  optimizer.save(moments);
  archive.write("optimizer", moments);
  std::ostringstream bytes;
  archive.save_to(bytes);
  return bytes.str();
}

void go_on(const TrainingRecord& record, Trainer& trainer, torch::optim::Adam& optimizer) {
  const Error damaged("train: the state to go on from is damaged, or of another network");
  if (record.validation.empty() && !record.loss.empty()) throw damaged;
  try {
    torch::serialize::InputArchive archive, moments;
    std::istringstream bytes(record.state);
    archive.load_from(bytes);
    trainer.read(archive);
    archive.read("optimizer", moments);
    optimizer.load(moments);
  } catch (const c10::Error&) {
    throw damaged;
  }
}

// Notes the error after `step`; the least so far is kept.
void note_validation(int step, double error, TrainingRecord& record, Trainer& trainer) {
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [before, value] : record.validation) least = std::min(least, value);
  record.validation.emplace_back(step, error);
  if (!(error < least)) return;  // not a number is no better either
  record.best_step = step;
  trainer.keep();
}

// From where the record stands. Its state is always that of the last whole step, and empty after
// the last of all. Throws Aborted; the record then knows nothing of the step that was begun.
void make_steps(Trainer& trainer, torch::optim::Adam& optimizer, const TrainingOptions& options,
                TrainingRecord& record, const Progress& progress) {
  if (record.validation.empty()) note_validation(0, trainer.validation_error(), record, trainer);
  for (int step = static_cast<int>(record.loss.size()) + 1; step <= options.steps; ++step) {
    record.state = state_of(trainer, optimizer);
    if (options.stop && options.stop()) return;
    const double share = static_cast<double>(step - 1) / options.steps;
    static_cast<torch::optim::AdamOptions&>(optimizer.param_groups()[0].options())
        .lr(options.learning_rate * 0.5 * (1 + std::cos(M_PI * share)));
    const double loss = trainer.train_on_next_window(optimizer);
    std::optional<double> error;
    if (step % options.validation_step == 0 || step == options.steps)
      error = trainer.validation_error();
    record.loss.push_back(loss);
    if (error) note_validation(step, *error, record, trainer);
    if (progress)
      progress(static_cast<double>(step) / options.steps,
               "training, step " + std::to_string(step) + " of " + std::to_string(options.steps) +
                   ", error " + std::to_string(record.validation.back().second));
  }
  record.state.clear();
}

}  // namespace

void require_training_clip(const Clip& clip, const std::string& name,
                           const TrainingOptions& options) {
  const auto least = static_cast<size_t>(options.window) + static_cast<size_t>(options.warm_up);
  if (clip.size() < least)
    throw Error("train: " + name + " has " + std::to_string(clip.size()) +
                " frames; training needs " + std::to_string(least) + " of each clip");
  constexpr int least_side = 16;  // of DIS
  if (options.flow && std::min(clip[0].width, clip[0].height) < least_side)
    throw Error("train: " + name + " is played at " + std::to_string(clip[0].width) + "x" +
                std::to_string(clip[0].height) +
                "; optical flow needs 16x16 at least: another --size, or --ofa off");
}

void require_training_clips(const std::vector<Clip>& clips, const TrainingOptions& options) {
  if (clips.size() < 2)
    throw Error("train: one calibration clip; training needs two at least, one to validate on");
  for (size_t i = 0; i < clips.size(); ++i)
    require_training_clip(clips[i], "calibration clip " + std::to_string(i + 1), options);
}

ir::Graph train(const ir::Graph& fused, const ir::Graph& quantized, const std::vector<Clip>& clips,
                const TrainingOptions& options, TrainingRecord& record, const Progress& progress) {
  require_training_clips(clips, options);
  Trainer trainer(fused, quantized, clips, options);
  torch::optim::Adam optimizer(trainer.parameters(), options.learning_rate);
  trainer.keep();
  if (!record.state.empty()) go_on(record, trainer, optimizer);
  record.state = state_of(trainer, optimizer);
  try {
    trainer.teach_validation();
    make_steps(trainer, optimizer, options, record, progress);
  } catch (const Aborted&) {
    // The record is as it was before what was begun, and the best parameters are too.
  }
  return trainer.kept();
}

}  // namespace mattec::quant
