#include "tools/run_clip.h"

#include <chrono>
#include <memory>
#include <utility>

#include "base/interrupt.h"
#include "media/cut_detector.h"
#include "media/frame_sink.h"
#include "media/threads.h"
#include "tools/clip_matter.h"
#include "tools/progress.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

int channels_of(OutputKind kind) {
  if (kind == OutputKind::alpha) return 1;
  return kind == OutputKind::rgba ? 4 : 3;
}

std::unique_ptr<media::FrameSink> sink_for(const media::Clip& clip, const RunOptions& options) {
  media::SinkOptions wanted;
  wanted.clip = clip;
  wanted.channels = channels_of(options.kind);
  wanted.codec = options.codec;
  wanted.quality = options.quality;
  return media::write_behind(media::open_sink(options.output, wanted));
}

// The frame after `done` ones; false at the end, which of a live input may be a signal.
bool next_frame(media::FrameSource& source, media::Image& frame, int64_t done, Progress& progress) {
  try {
    if (done > 0) progress.count(done, "frames");
    return source.next(frame);
  } catch (const Interrupted&) {
    if (!source.clip().is_live) throw;
    forget_interrupt();
    return false;
  }
}

// One clip on its way: each frame waits until the next one has told whether it begins a scene.
class ClipRun {
 public:
  ClipRun(const Model& model, const media::Clip& clip, const RunOptions& options)
      : options_(options),
        clip_(clip),
        matter_(model, clip, options),
        sink_(sink_for(clip, options)) {
    report_.size = clip.size;
    report_.rate = clip.rate;
  }

  // Takes the frame's memory and gives another's for it.
  void add(media::Image& frame, const media::FrameLabel& label) {
    matter_.fit(frame, next_.fitted);
    std::swap(next_.frame, frame);
    next_.label = label;
    if (!detects()) return write(next_);
    if (cuts_.previous_begins_scene(next_.fitted)) begin_scene();
    if (has_waiting_) write(waiting_);
    std::swap(waiting_, next_);
    has_waiting_ = true;
  }

  RunReport finish() {
    if (has_waiting_) write(waiting_);
    sink_->finish();
    report_.network_size = matter_.network_size();
    report_.network_seconds = matter_.network_seconds();
    return report_;
  }

 private:
  struct Frame {
    media::Image frame, fitted;
    media::FrameLabel label;
  };

  bool detects() const { return options_.reset_at_cuts && !options_.stills; }

  void begin_scene() {
    matter_.reset();
    ++report_.cuts;
  }

  void write(const Frame& given) {
    const auto& [frame, fitted, label] = given;
    if (options_.stills) matter_.reset();
    if (label.is_warm_up) return matter_.warm_up(frame, fitted);
    const double seconds = static_cast<double>(label.start) * clip_.time_base.value();
    sink_->write(matter_.matte(frame, fitted, seconds), label);
    ++report_.frames;
  }

  const RunOptions& options_;
  media::Clip clip_;
  ClipMatter matter_;
  media::CutDetector cuts_;
  std::unique_ptr<media::FrameSink> sink_;
  Frame waiting_, next_;
  bool has_waiting_ = false;
  RunReport report_;
};

}  // namespace

RunReport run_clip(const Model& model, const RunOptions& options) {
  const Clock::time_point start = Clock::now();
  media::SourceOptions source_options = options.source;
  source_options.any_size = options.stills;
  const std::unique_ptr<media::FrameSource> source =
      media::read_ahead(media::open_source(options.input, source_options));
  ClipRun run(model, source->clip(), options);
  std::optional<InterruptKeepsWork> ends_by_signal;
  if (source->clip().is_live) ends_by_signal.emplace();
  Progress progress("run", source->clip().expected_frames);
  int64_t done = 0;
  for (media::Image frame; next_frame(*source, frame, done, progress); ++done)
    run.add(frame, source->label());
  RunReport report = run.finish();
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return report;
}

}  // namespace mattec::tools
