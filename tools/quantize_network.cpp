#include "tools/quantize_network.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "frontend/fuse.h"
#include "ir/error.h"
#include "quant/measure_policy.h"
#include "quant/split.h"
#include "quant/train.h"
#include "tools/calibration_clips.h"
#include "tools/interrupt.h"
#include "tools/progress.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

// Of each calibration clip, for the report: enough for errors to come back through the states.
constexpr int reported_frames = 3;

// Of each calibration clip, where something is trained; calibration needs fewer.
constexpr int training_frames = 33;

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
                            const QuantizeOptions& options, const Part& part) {
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
      fused, quant::measure_sites(fused, clips, calibration, options.calibration, part), budget,
      size);
}

// What two cores need at 512x288 for the closed form, in minutes.
constexpr double minutes_before = 4;

// Minutes at 512x288 that each part has in which something is trained.
double minutes_of_each(const QuantizeOptions& options, ir::Size size) {
  const double pixels = static_cast<double>(size.width) * size.height / (512 * 288);
  const int parts = (options.reconstruction ? 1 : 0) + (options.gac || options.ofa ? 1 : 0);
  return (options.budget_minutes / pixels - minutes_before) / std::max(1, parts);
}

// As many steps as two cores make in what is left of the budget, so that the same command gives the
// same result where the machine is fast enough. A slower one stops when the time is over.
quant::TrainingOptions training_for(const QuantizeOptions& options, ir::Size size) {
  constexpr double steps_per_minute = 50;
  quant::TrainingOptions training;
  training.affine = options.gac;
  training.flow = options.ofa;
  training.seed = options.calibration.seed;
  training.steps =
      static_cast<int>(std::max(20.0, minutes_of_each(options, size) * steps_per_minute));
  training.validation_step = std::clamp(training.steps / 8, 5, 40);
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

ir::Graph reconstructed(const ir::Graph& fused, const ir::Graph& quantized,
                        const std::vector<quant::Clip>& clips, quant::ReconstructionOptions options,
                        quant::ReconstructionRecord* record, Ending& ending, const Part& part) {
  options.stop = [&ending] { return ending.is_here(); };
  quant::ReconstructionRecord unread;
  quant::ReconstructionRecord& blocks = record == nullptr ? unread : *record;
  ir::Graph result =
      quant::reconstruct(fused, quantized, clips, options, blocks, ending.watched(part));
  if (ending.interrupted())
    fmt::print(stderr, "\ninterrupted: the best so far, of {} blocks, is kept\n",
               blocks.blocks.size());
  return result;
}

ir::Graph trained(const ir::Graph& fused, const ir::Graph& quantized,
                  const std::vector<quant::Clip>& clips, quant::TrainingOptions options,
                  TrainingCurves* curves, Ending& ending, const Part& part) {
  options.stop = [&ending] { return ending.is_here(); };
  quant::TrainingRecord record;
  ir::Graph result = quant::train(fused, quantized, clips, options, record, ending.watched(part));
  if (ending.interrupted())
    fmt::print(stderr, "\ninterrupted: the best so far, of step {}, is kept\n", record.best_step);
  if (curves == nullptr) return result;
  for (size_t i = 0; i < record.loss.size(); ++i)
    curves->loss.emplace_back(static_cast<int>(i) + 1, record.loss[i]);
  curves->validation = record.validation;
  curves->best_step = record.best_step;
  return result;
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
  const std::vector<quant::Clip> frames = read_clips(
      clips, size, trains || reconstructs ? training_frames : options.calibration.frames_per_clip);
  const quant::TrainingOptions training = training_for(options, size);
  const quant::ReconstructionOptions reconstruction = reconstruction_for(options, size);
  // Before minutes of work.
  if (reconstructs) quant::require_reconstruction_clips(frames, reconstruction);
  if (trains) quant::require_training_clips(frames, training);
  Progress progress("quantize", std::nullopt);
  const Part all(progress, 0, 0.95), closed_form = trains || reconstructs ? all.sub(0, 0.4) : all;
  quant::Calibration calibration =
      quant::observe(fused, frames, options.calibration, closed_form.sub(0, 0.75));
  const quant::BitPolicy policy =
      policy_for(fused, frames, calibration, size, options, closed_form.sub(0.75, 0.9));
  const quant::Split split = quant::split_channels(fused, std::move(calibration), policy);
  ir::Graph quantized = quant::quantize(split.fused, split.calibration, split.policy,
                                        options.calibration, closed_form.sub(0.9, 1));
  const std::chrono::duration<double> budget(60 * options.budget_minutes);
  Ending ending(start + std::chrono::duration_cast<Clock::duration>(budget));
  const double reconstructing = !reconstructs ? 0.4 : trains ? 0.7 : 1;
  if (reconstructs)
    quantized = reconstructed(split.fused, quantized, frames, reconstruction,
                              record == nullptr ? nullptr : &record->reconstruction, ending,
                              all.sub(0.4, reconstructing));
  if (trains && !ending.interrupted())
    quantized = trained(split.fused, quantized, frames, training,
                        record == nullptr ? nullptr : &record->training, ending,
                        all.sub(reconstructing, 1));
  if (record == nullptr) return quantized;
  record->policy = policy;
  record->comparison = quant::compare_layers(split.fused, quantized, frames, reported_frames,
                                             Part(progress, 0.95, 1));
  return quantized;
}

}  // namespace mattec::tools
