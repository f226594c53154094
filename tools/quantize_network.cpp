#include "tools/quantize_network.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "frontend/fuse.h"
#include "ir/error.h"
#include "quant/measure_policy.h"
#include "quant/processors.h"
#include "quant/split.h"
#include "quant/train.h"
#include "tools/calibration_clips.h"
#include "tools/checkpoint.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

// For the report: clips spread over those of calibration, and frames of each, enough for errors to
// come back through the states. A clip takes 4.6 s (Zen 3, two cores).
constexpr size_t reported_clips = 4;
constexpr int reported_frames = 3;

std::vector<quant::Clip> read_clips(const std::vector<std::string>& clips, ir::Size size,
                                    int frames) {
  std::vector<quant::Clip> read;
  Progress progress("reading clips", static_cast<int64_t>(clips.size()));
  for (const std::string& clip : clips) {
    read.push_back(load_calibration_clip(clip, size, frames));
    progress.count(static_cast<int64_t>(read.size()), "clips");
  }
  return read;
}

// Progress of one part of the work, as that of the whole.
class Part {
 public:
  Part(Progress& progress, double from, double to) : progress_(progress), from_(from), to_(to) {}
  void operator()(double fraction, const std::string& what) const {
    progress_.reach(from_ + (to_ - from_) * fraction, what);
  }
  Part sub(double from, double to) const {
    return {progress_, from_ + (to_ - from_) * from, from_ + (to_ - from_) * to};
  }

 private:
  Progress& progress_;
  double from_, to_;
};

quant::BitPolicy policy_for(const ir::Graph& fused, const std::vector<quant::Clip>& clips,
                            const quant::Calibration& calibration, ir::Size size,
                            const QuantizeOptions& options, const Part& part,
                            quant::RoundingMemo& memo) {
  if (options.policy == "w8a8") return {};
  quant::BitPolicy low;
  low.weights = 4;
  if (options.policy == "w4a8") return low;
  low.activations = 4;
  if (options.policy != "w4a4" && options.policy != "w4a4-96")
    return quant::read_policy(options.policy);
  // The textbook method knows no measuring: 4 bits everywhere.
  if (options.calibration.method == quant::Method::minmax) return low;
  quant::PolicyBudget budget;
  if (options.policy == "w4a4-96") budget.low_bit_share = 0.96;
  return quant::best_policy(
      fused, quant::measure_sites(fused, clips, calibration, options.calibration, part, &memo),
      budget, size);
}

// What two slow cores (Zen 3) need at 512x288 for the closed form and the report, in minutes.
constexpr double minutes_before = 5;
// Of the budget, for training to end in: the report comes after it.
constexpr double share_before_report = 0.93;

// Minutes at 512x288 that each part has in which something is trained.
double minutes_of_each(const QuantizeOptions& options, ir::Size size) {
  const double pixels = static_cast<double>(size.width) * size.height / (512 * 288);
  const int parts = (options.reconstruction ? 1 : 0) + (options.gac || options.ofa ? 1 : 0);
  return (options.budget_minutes / pixels - minutes_before) / std::max(1, parts);
}

// As many steps as two cores make in what is left of the budget, so that the same command gives the
// same result where the machine is fast enough. A slower one stops when the time is over.
quant::TrainingOptions training_for(const QuantizeOptions& options, ir::Size size) {
  constexpr double steps_per_minute = 15;
  quant::TrainingOptions training;
  training.affine = options.gac;
  training.flow = options.ofa;
  training.seed = options.calibration.seed;
  training.steps =
      static_cast<int>(std::max(20.0, minutes_of_each(options, size) * steps_per_minute));
  training.validation_step = std::max(5, training.steps / 4);
  return training;
}

quant::ReconstructionOptions reconstruction_for(const QuantizeOptions& options, ir::Size size) {
  constexpr double steps_per_minute = 20, windows_minutes = 2;
  quant::ReconstructionOptions reconstruction;
  if (options.reconstruction) reconstruction.method = *options.reconstruction;
  reconstruction.seed = options.calibration.seed;
  reconstruction.steps = static_cast<int>(
      std::max(4.0, (minutes_of_each(options, size) - windows_minutes) * steps_per_minute));
  return reconstruction;
}

// What is trained ends when the time is over or at an interrupt; the best so far is kept.
class Ending {
 public:
  explicit Ending(Clock::time_point end) : end_(end) {}
  bool is_here() const { return interrupted_ || Clock::now() > end_; }
  quant::Progress watched(const Part& part) {
    return [this, part](double fraction, const std::string& what) {
      try {
        part(fraction, what);
      } catch (const Interrupted&) {
        forget_interrupt();
        interrupted_ = true;
      }
    };
  }
  bool interrupted() const { return interrupted_; }

 private:
  Clock::time_point end_;
  bool interrupted_ = false;
};

void say_interrupted(const std::string& what) {
  fmt::print(stderr, "\ninterrupted: the best so far, of {}, is kept\n", what);
}

// What was rounded, or where an interrupted command stood.
Checkpoint closed_form(const ir::Graph& fused, const std::vector<quant::Clip>& frames,
                       ir::Size size, const QuantizeOptions& options, const Part& part) {
  if (options.resume) return read_checkpoint(options.checkpoint, options.command);
  quant::Calibration calibration =
      quant::observe(fused, frames, options.calibration, part.sub(0, 0.75));
  Checkpoint result;
  result.command = options.command;
  quant::RoundingMemo memo;
  result.policy = policy_for(fused, frames, calibration, size, options, part.sub(0.75, 0.9), memo);
  const quant::Split split = quant::split_channels(fused, std::move(calibration), result.policy);
  result.start = quant::quantize(split.fused, split.calibration, split.policy, options.calibration,
                                 part.sub(0.9, 1), &memo);
  return result;
}

// What is trained after rounding: blocks, then the whole. Both where the checkpoint stands.
class After {
 public:
  After(const ir::Graph& fused, const QuantizeOptions& options, Clock::time_point end)
      : fused_(fused), options_(options), ending_(end) {}

  ir::Graph reconstructed(const std::vector<quant::Clip>& frames,
                          quant::ReconstructionOptions options, Checkpoint& checkpoint,
                          const Part& part) {
    if (!checkpoint.training.state.empty()) return checkpoint.reconstructed;
    options.stop = [this] { return ending_.is_here(); };
    quant::ReconstructionRecord& record = checkpoint.reconstruction;
    ir::Graph result = quant::reconstruct(fused_, checkpoint.start, frames, options, record,
                                          ending_.watched(part));
    if (ending_.interrupted()) say_interrupted(fmt::format("{} blocks", record.blocks.size()));
    return result;
  }

  ir::Graph trained(const ir::Graph& start, const std::vector<quant::Clip>& frames,
                    quant::TrainingOptions options, Checkpoint& checkpoint, const Part& part) {
    if (ending_.interrupted()) return start;
    options.stop = [this] { return ending_.is_here(); };
    quant::TrainingRecord& record = checkpoint.training;
    ir::Graph result;
    try {
      result = quant::train(fused_, start, frames, options, record, ending_.watched(part));
    } catch (const Error& error) {
      if (!options_.resume) throw;
      throw Error(options_.checkpoint + ": " + error.what() + "; quantize again without --resume");
    }
    if (!ending_.interrupted()) return result;
    say_interrupted(fmt::format("step {}", record.best_step));
    checkpoint.reconstructed = start;
    return result;
  }

  // Leaves what goes on from here, or nothing where all is done.
  void settle(const Checkpoint& checkpoint) const {
    if (options_.checkpoint.empty()) return;
    if (!ending_.interrupted()) return remove_checkpoint(options_.checkpoint);
    try {
      write_checkpoint(checkpoint, options_.checkpoint);
      fmt::print(stderr, "the same command with --resume goes on\n");
    } catch (const Error& error) {  // the result matters more
      fmt::print(stderr, "{}\n", error.what());
    }
  }

 private:
  const ir::Graph& fused_;
  const QuantizeOptions& options_;
  Ending ending_;
};

TrainingCurves curves_of(const quant::TrainingRecord& record) {
  TrainingCurves curves;
  for (size_t i = 0; i < record.loss.size(); ++i)
    curves.loss.emplace_back(static_cast<int>(i) + 1, record.loss[i]);
  curves.validation = record.validation;
  curves.best_step = record.best_step;
  return curves;
}

}  // namespace

void require_policy(const std::string& policy) {
  const char* const names[] = {"w8a8", "w4a8", "w4a4", "w4a4-96"};
  if (std::find(std::begin(names), std::end(names), policy) != std::end(names)) return;
  if (std::filesystem::path(policy).extension() != ".json")
    throw Error(
        fmt::format("--policy {}: neither w8a8, w4a8, w4a4, w4a4-96 nor a .json file", policy));
  quant::read_policy(policy);
}

ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const QuantizeOptions& options, QuantizeRecord* record) {
  const Clock::time_point start = Clock::now();
  quant::use_all_processors();
  const ir::Graph fused = frontend::fuse(ir::extract(imported, ir::Variant::direct));
  const bool trains = options.gac || options.ofa, reconstructs = options.reconstruction.has_value();
  const int calibration_frames =
      options.calibration.window * (1 + options.calibration.jitter_copies);
  std::vector<quant::Clip> frames = read_clips(clips, size, calibration_frames);
  const quant::TrainingOptions training = training_for(options, size);
  const quant::ReconstructionOptions reconstruction = reconstruction_for(options, size);
  // Before minutes of work.
  if (reconstructs) quant::require_reconstruction_clips(frames, reconstruction);
  if (trains) quant::require_training_clips(frames, training);
  Progress progress("quantize", std::nullopt);
  const Part all(progress, 0, 0.95);
  Checkpoint checkpoint =
      closed_form(fused, frames, size, options, trains || reconstructs ? all.sub(0, 0.4) : all);
  const ir::Graph split = quant::split_graph(fused, checkpoint.policy);
  const std::chrono::duration<double> budget(60 * share_before_report * options.budget_minutes);
  After after(split, options, start + std::chrono::duration_cast<Clock::duration>(budget));
  const double reconstructing = !reconstructs ? 0.4 : trains ? 0.7 : 1;
  ir::Graph quantized = checkpoint.start;
  if (reconstructs)
    quantized =
        after.reconstructed(frames, reconstruction, checkpoint, all.sub(0.4, reconstructing));
  if (trains)
    quantized = after.trained(quantized, frames, training, checkpoint, all.sub(reconstructing, 1));
  after.settle(checkpoint);
  if (record == nullptr) return quantized;
  record->policy = checkpoint.policy;
  record->reconstruction = std::move(checkpoint.reconstruction);
  record->training = curves_of(checkpoint.training);
  std::vector<quant::Clip> compared;
  const size_t count = std::min(reported_clips, frames.size());
  for (size_t i = 0; i < count; ++i) {
    record->compared.push_back(i * frames.size() / count);
    compared.push_back(std::move(frames[record->compared.back()]));
  }
  record->comparison =
      quant::compare_layers(split, quantized, compared, reported_frames, Part(progress, 0.95, 1));
  return quantized;
}

}  // namespace mattec::tools
