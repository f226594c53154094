// mattec run: a clip in, its matte or composite out.
#include <fmt/core.h>

#include <chrono>
#include <memory>

#include "tools/composite.h"
#include "tools/engine.h"
#include "tools/frame_sink.h"
#include "tools/frame_source.h"
#include "tools/progress.h"
#include "tools/run_clip.h"
#include "tools/scale.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// One frame at a time, in memory that is kept from frame to frame.
class ClipMatter {
 public:
  ClipMatter(const Model& model, ir::Size clip_size, const std::string& background)
      : clip_size_(clip_size), size_(model.size_for(clip_size)), engine_(model.start(size_)) {
    if (!background.empty()) background_ = std::make_unique<Background>(background, clip_size);
  }

  // The matte at the clip's size, or the composite.
  const Image& matte(const Image& frame) {
    scale(frame, size_, network_frame_);
    const Clock::time_point start = Clock::now();
    engine_->step(network_frame_, network_alpha_, background_ ? &network_foreground_ : nullptr);
    network_seconds_ += seconds_since(start);
    scale(network_alpha_, clip_size_, alpha_);
    if (!background_) return alpha_;
    full_size_foreground(frame, network_frame_, network_foreground_, foreground_);
    composite(foreground_, alpha_, background_->next(), composite_);
    return composite_;
  }
  double network_seconds() const { return network_seconds_; }

 private:
  ir::Size clip_size_, size_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Background> background_;
  Image network_frame_, network_alpha_, network_foreground_, alpha_, foreground_, composite_;
  double network_seconds_ = 0;
};

struct RunArguments {
  std::string model, input, output, background;
  ModelOptions options;
  SourceOptions source;
};

void run(const RunArguments& arguments) {
  const std::unique_ptr<Model> model = open_model(arguments.model, arguments.options);
  const RunReport report =
      run_clip(*model, arguments.input, arguments.source, arguments.output, arguments.background);
  fmt::print("{}: {} frames, {}, {:.4g} frames/s\n", arguments.output, report.frames,
             size_text(report.size), report.rate);
  fmt::print("network at {}: {:.1f} ms a frame; everything: {}\n", size_text(report.network_size),
             1e3 * report.network_seconds / static_cast<double>(report.frames),
             duration_text(report.seconds));
}

}  // namespace

RunReport run_clip(const Model& model, const std::string& input,
                   const SourceOptions& source_options, const std::string& output,
                   const std::string& background) {
  const Clock::time_point start = Clock::now();
  const std::unique_ptr<FrameSource> source = open_source(input, source_options);
  ClipMatter matter(model, source->size(), background);
  const std::unique_ptr<FrameSink> sink = open_sink(output, source->size(), source->rate());
  Progress progress("run", source->expected_frames());
  RunReport report;
  for (Image frame; source->next(frame); ++report.frames) {
    sink->write(matter.matte(frame), source->frame_name());
    progress.count(report.frames + 1, "frames");
  }
  sink->finish();
  report.size = source->size();
  report.network_size = model.size_for(source->size());
  report.rate = source->rate();
  report.network_seconds = matter.network_seconds();
  report.seconds = seconds_since(start);
  return report;
}

void add_run(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("run", "Matte a clip");
  const auto arguments = std::make_shared<RunArguments>();
  verb->add_option("MODEL", arguments->model,
                   "Compiled libraries (a folder or .a), a .mattec file or a float network")
      ->required();
  verb->add_option("INPUT", arguments->input,
                   "Video, folder of images, or - for raw RGB24 frames on standard input")
      ->required();
  verb->add_option("-o,--output", arguments->output,
                   "Video (.mp4 .mov .mkv .avi), or a folder for one PNG per frame")
      ->required();
  verb->add_option("--composite", arguments->background,
                   "Write the subject over this instead of its alpha: #rrggbb, a colour's name, "
                   "an image, a video or a folder of images");
  add_threads_option(*verb, arguments->options.threads);
  add_size_option(*verb, "--size", arguments->options.size,
                  "Size to matte at (models that are not compiled; default: the clip's)");
  verb->add_option("--downsample-ratio", arguments->options.downsample_ratio,
                   "Of float networks with a refiner")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  add_size_option(*verb, "--input-size", arguments->source.raw_size,
                  "Size of the frames on standard input");
  verb->add_option("--input-rate", arguments->source.rate,
                   "Frames a second of an image folder or of standard input")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace mattec::tools
