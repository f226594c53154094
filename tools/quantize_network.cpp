#include "tools/quantize_network.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/text.h"
#include "frontend/fuse.h"
#include "quant/measure_policy.h"
#include "quant/processors.h"
#include "quant/split.h"
#include "quant/train.h"
#include "tools/calibration_clips.h"
#include "tools/checkpoint.h"
#include "tools/progress.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

// For the report: clips spread over those of calibration, and frames of each, enough for errors to
// come back through the states. A clip takes 4.6 s (Zen 3, two cores).
constexpr size_t reported_clips = 4;
constexpr int reported_frames = 3;

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
  const int parts = (options.reconstruction ? 1 : 0) + (options.trains() ? 1 : 0);
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
  constexpr double windows_minutes = 2;
  quant::ReconstructionOptions reconstruction;
  if (options.reconstruction) reconstruction.method = *options.reconstruction;
  // Most steps of brecq leave activations unrounded.
  const double steps_per_minute = reconstruction.method == quant::Reconstruction::brecq ? 20 : 8;
  reconstruction.seed = options.calibration.seed;
  reconstruction.steps = static_cast<int>(
      std::max(4.0, (minutes_of_each(options, size) - windows_minutes) * steps_per_minute));
  return reconstruction;
}

// What is trained ends when the time is over or at an interrupt; the best so far is kept.
class Ending {
 public:
  explicit Ending(Clock::time_point end) : end_(end) {}
  bool is_here() { return is_interrupted() || Clock::now() > end_; }
  bool is_interrupted() {
    noting_interrupts(stop_if_interrupted);
    return interrupted_;
  }
  quant::Progress watched(const Part& part) {
    return [this, part](double fraction, const std::string& what) {
      noting_interrupts([&] { part(fraction, what); });
    };
  }
  // `after`: as far as it came.
  void say_stopped(const std::string& after) const {
    if (interrupted_)
      fmt::print(stderr, "\ninterrupted: the best so far, of {}, is kept\n", after);
    else
      fmt::print(stderr,
                 "\nthe budget was over after {}: the best so far is kept (a faster machine or a "
                 "longer --budget-minutes does all)\n",
                 after);
  }

 private:
  template <typename Work>
  void noting_interrupts(const Work& work) {
    try {
      work();
    } catch (const Interrupted&) {
      forget_interrupt();
      interrupted_ = true;
    }
  }

  Clock::time_point end_;
  bool interrupted_ = false;
};

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
    options.abort = [this] { return ending_.is_interrupted(); };
    quant::ReconstructionRecord& record = checkpoint.reconstruction;
    ir::Graph result = going_on([&] {
      return quant::reconstruct(fused_, checkpoint.start, frames, options, record,
                                ending_.watched(part));
    });
    if (record.stopped) ending_.say_stopped(fmt::format("{} blocks", record.blocks.size()));
    return result;
  }

  // Interrupted before, it only notes what it would start from.
  ir::Graph trained(const ir::Graph& start, const std::vector<quant::Clip>& frames,
                    quant::TrainingOptions options, Checkpoint& checkpoint, const Part& part) {
    if (ending_.is_interrupted() && checkpoint.reconstruction.stopped) return start;
    options.stop = [this] { return ending_.is_here(); };
    options.abort = [this] { return ending_.is_interrupted(); };
    quant::TrainingRecord& record = checkpoint.training;
    ir::Graph result = going_on([&] {
      return quant::train(fused_, start, frames, options, record, ending_.watched(part));
    });
    if (record.state.empty()) return result;
    ending_.say_stopped(
        fmt::format("step {} of {} of training", record.loss.size(), options.steps));
    checkpoint.reconstructed = start;
    return result;
  }

  // Writes what goes on from here where an interrupt left anything to do; returns whether it did.
  bool leave_rest(const Checkpoint& checkpoint) {
    const bool stopped = checkpoint.reconstruction.stopped || !checkpoint.training.state.empty();
    if (options_.checkpoint.empty() || !stopped || !ending_.is_interrupted()) return false;
    try {
      write_checkpoint(checkpoint, options_.checkpoint);
      fmt::print(stderr, "the same command with --resume goes on\n");
    } catch (const Error& error) {  // the result matters more
      note(error.what());
    }
    return true;
  }

  bool is_interrupted() { return ending_.is_interrupted(); }

 private:
  // Errors of what a checkpoint holds name it.
  template <typename Work>
  ir::Graph going_on(const Work& work) const {
    try {
      return work();
    } catch (const Error& error) {
      if (!options_.resume) throw;
      throw Error(options_.checkpoint + ": " + error.what() + "; quantize again without --resume");
    }
  }

  const ir::Graph& fused_;
  const QuantizeOptions& options_;
  Ending ending_;
};

bool is_named(const std::string& policy) {
  const char* const names[] = {"w8a8", "w4a8", "w4a4", "w4a4-96"};
  return std::find(std::begin(names), std::end(names), policy) != std::end(names);
}

// Throws Error where a policy of a file is none for the network.
void check_policy_file(const ir::Graph& fused, const std::string& policy) {
  if (is_named(policy)) return;
  const quant::BitPolicy read = quant::read_policy(policy);
  quant::check_policy(read, fused);
  quant::split_graph(fused, read);
}

// What is played, at the network's size.
struct Footage {
  std::vector<quant::Clip> frames, truth;  // truth: with exact mattes, for training alone
};

Footage read_footage(const std::vector<std::string>& clips,
                     const std::vector<media::TruthClip>& truth, ir::Size size, int frames) {
  Footage read;
  Progress progress("reading clips", static_cast<int64_t>(clips.size() + truth.size()));
  const auto count = [&] {
    progress.count(static_cast<int64_t>(read.frames.size() + read.truth.size()), "clips");
  };
  for (const std::string& clip : clips) {
    read.frames.push_back(load_calibration_clip(clip, size, frames));
    count();
  }
  for (const media::TruthClip& clip : truth) {
    read.truth.push_back(load_truth_clip(clip, size, frames));
    count();
  }
  return read;
}

// Before minutes of work.
void require_fit(const Footage& footage, const QuantizeOptions& options,
                 const quant::ReconstructionOptions& reconstruction,
                 const quant::TrainingOptions& training) {
  if (options.reconstruction) quant::require_reconstruction_clips(footage.frames, reconstruction);
  if (!options.trains()) return;
  quant::require_training_clips(footage.frames, training);
  for (size_t i = 0; i < footage.truth.size(); ++i)
    quant::require_training_clip(footage.truth[i], options.truth[i].name, training);
}

// For the report. What was trained took minutes: an interrupt ends the comparison alone.
void compare(const ir::Graph& fused, const ir::Graph& start, const ir::Graph& result, bool trained,
             std::vector<quant::Clip>& frames, const Part& part, QuantizeRecord& record) {
  std::vector<quant::Clip> compared;
  const size_t count = std::min(reported_clips, frames.size());
  for (size_t i = 0; i < count; ++i) {
    record.compared.push_back(i * frames.size() / count);
    compared.push_back(std::move(frames[record.compared.back()]));
  }
  try {
    record.comparison = quant::compare_layers(fused, result, compared, reported_frames,
                                              part.sub(0, trained ? 0.5 : 1));
    if (trained)
      record.before =
          quant::compare_layers(fused, start, compared, reported_frames, part.sub(0.5, 1));
  } catch (const Interrupted&) {
    if (!trained) throw;
    forget_interrupt();
    fmt::print(stderr, "\ninterrupted: the report has no errors of layers\n");
    record.interrupted = true;
    record.comparison = {};
    record.before.reset();
    record.compared.clear();
  }
}

}  // namespace

void require_policy(const std::string& policy) {
  if (is_named(policy)) return;
  if (std::filesystem::path(policy).extension() != ".json")
    throw UsageError(
        fmt::format("--policy {}: neither w8a8, w4a8, w4a4, w4a4-96 nor a .json file{}", policy,
                    hint_at_nearest(policy, {"w8a8", "w4a8", "w4a4", "w4a4-96"})));
  quant::read_policy(policy);
}

ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const QuantizeOptions& options, QuantizeRecord* record) {
  const Clock::time_point start = Clock::now();
  quant::use_all_processors();
  const ir::Graph fused = frontend::fuse(ir::extract(imported, ir::Variant::direct));
  check_policy_file(fused, options.policy);
  const bool trains = options.trains(), reconstructs = options.reconstruction.has_value();
  const quant::TrainingOptions training = training_for(options, size);
  const quant::ReconstructionOptions reconstruction = reconstruction_for(options, size);
  Footage footage =
      read_footage(clips, trains ? options.truth : std::vector<media::TruthClip>(), size,
                   options.calibration.window * (1 + options.calibration.jitter_copies));
  require_fit(footage, options, reconstruction, training);
  std::vector<quant::Clip>& frames = footage.frames;
  Progress progress("quantize", std::nullopt);
  const Part all(progress, 0, 0.95);
  Checkpoint checkpoint =
      closed_form(fused, frames, size, options, trains || reconstructs ? all.sub(0, 0.4) : all);
  const ir::Graph split = quant::split_graph(fused, checkpoint.policy);
  const std::chrono::duration<double> budget(60 * share_before_report * options.budget_minutes);
  After after(split, options, start + std::chrono::duration_cast<Clock::duration>(budget));
  // From here on minutes of work are kept at a signal, and end within a second by themselves.
  std::optional<InterruptKeepsWork> keeps;
  if (trains || reconstructs) keeps.emplace();
  const double reconstructing = !reconstructs ? 0.4 : trains ? 0.7 : 1;
  ir::Graph quantized = checkpoint.start;
  if (reconstructs)
    quantized =
        after.reconstructed(frames, reconstruction, checkpoint, all.sub(0.4, reconstructing));
  if (trains) {
    std::move(footage.truth.begin(), footage.truth.end(), std::back_inserter(frames));
    quantized = after.trained(quantized, frames, training, checkpoint, all.sub(reconstructing, 1));
    frames.resize(clips.size());
  }
  const bool unfinished = after.leave_rest(checkpoint);
  if (record == nullptr) return quantized;
  record->unfinished = unfinished;
  record->interrupted = keeps && after.is_interrupted();
  if (!record->interrupted)
    compare(split, checkpoint.start, quantized, trains || reconstructs, frames,
            Part(progress, 0.95, 1), *record);
  record->policy = checkpoint.policy;
  record->reconstruction = std::move(checkpoint.reconstruction);
  record->training = std::move(checkpoint.training);
  record->planned_steps = trains ? training.steps : 0;
  record->taught_by_truth = trains && !options.truth.empty();
  return quantized;
}

}  // namespace mattec::tools
