#include "tools/run_clip.h"

#include <chrono>
#include <memory>

#include "base/interrupt.h"
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
bool next_frame(media::FrameSource& source, media::Image& frame, int64_t done,
                Progress& progress) {
  try {
    if (done > 0) progress.count(done, "frames");
    return source.next(frame);
  } catch (const Interrupted&) {
    if (!source.clip().is_live) throw;
    forget_interrupt();
    return false;
  }
}

}  // namespace

RunReport run_clip(const Model& model, const RunOptions& options) {
  const Clock::time_point start = Clock::now();
  media::SourceOptions source_options = options.source;
  source_options.any_size = options.stills;
  const std::unique_ptr<media::FrameSource> source =
      media::read_ahead(media::open_source(options.input, source_options));
  const media::Clip& clip = source->clip();
  ClipMatter matter(model, clip, options);
  const std::unique_ptr<media::FrameSink> sink = sink_for(clip, options);
  std::optional<InterruptKeepsWork> ends_by_signal;
  if (clip.is_live) ends_by_signal.emplace();
  Progress progress("run", clip.expected_frames);
  RunReport report;
  int64_t done = 0;
  for (media::Image frame; next_frame(*source, frame, done, progress); ++done) {
    const media::FrameLabel& label = source->label();
    if (label.is_warm_up) {
      matter.warm_up(frame);
    } else {
      const double seconds = static_cast<double>(label.start) * clip.time_base.value();
      sink->write(matter.matte(frame, seconds), label);
      ++report.frames;
    }
    if (options.stills) matter.reset();
  }
  sink->finish();
  report.size = clip.size;
  report.network_size = matter.network_size();
  report.rate = clip.rate;
  report.network_seconds = matter.network_seconds();
  report.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return report;
}

}  // namespace mattec::tools
