// mattec run: a clip in, its matte or composite out.
#include <fmt/core.h>

#include <memory>

#include "base/error.h"
#include "media/frame_source.h"
#include "tools/engine.h"
#include "tools/overwriting.h"
#include "tools/progress.h"
#include "tools/run_clip.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

struct RunArguments {
  std::string model, kind, background;
  bool has_background = false;
  RunOptions run;
  ModelOptions options;
};

constexpr char transparent[] = "transparent";

// What --output-kind and --composite say together.
OutputKind kind_of(const RunArguments& arguments) {
  const bool is_clear = arguments.has_background && arguments.background == transparent;
  const std::string asked = !arguments.kind.empty()    ? arguments.kind
                            : is_clear                 ? "rgba"
                            : arguments.has_background ? "composite"
                                                       : "alpha";
  if (arguments.has_background && asked != (is_clear ? "rgba" : "composite"))
    throw UsageError("--output-kind " + asked + " shows no background; leave out --composite");
  if (asked == "composite" && !arguments.has_background)
    throw UsageError("--output-kind composite needs a background; name it with --composite");
  if (asked == "composite") return OutputKind::composite;
  if (asked == "rgba") return OutputKind::rgba;
  return asked == "foreground" ? OutputKind::foreground : OutputKind::alpha;
}

void run(RunArguments& arguments) {
  arguments.run.kind = kind_of(arguments);
  arguments.run.background = arguments.background;
  // What is read must still be there afterwards.
  require_not_read(arguments.run.output,
                   {arguments.model, arguments.run.input, arguments.background});
  const std::unique_ptr<Model> model = open_model(arguments.model, arguments.options);
  const RunReport report = run_clip(*model, arguments.run);
  // Standard output may be the matte.
  std::FILE* const out = arguments.run.output == "-" ? stderr : stdout;
  fmt::print(out, "{}: {} frames, {}, {:.4g} frames/s\n", arguments.run.output, report.frames,
             size_text(report.size), report.rate.value());
  fmt::print(out, "network at {}: {:.1f} ms a frame; everything: {}\n",
             size_text(report.network_size),
             1e3 * report.network_seconds / static_cast<double>(report.frames),
             duration_text(report.seconds));
  if (report.cuts > 0)
    fmt::print(out, "scene cuts, where the network started anew: {}\n", report.cuts);
}

void add_output_options(CLI::App& verb, RunArguments& arguments) {
  verb.add_option("-o,--output", arguments.run.output,
                  "Video (.mp4 .mov .mkv .webm .avi), picture (.png .jpg), a folder for one PNG "
                  "per frame, or - for raw rows (gray, else RGBA) on standard output")
      ->required();
  verb.add_option("--output-kind", arguments.kind,
                  "alpha (default), foreground (the subject's colours everywhere), composite "
                  "(default with --composite), rgba (colours and alpha)")
      ->check(CLI::IsMember({"alpha", "foreground", "composite", "rgba"}))
      ->type_name("KIND");
  verb.add_option_function<std::string>(
          "--composite",
          [&arguments](const std::string& background) {
            arguments.background = background;
            arguments.has_background = true;
          },
          "Write the subject over this: #rrggbb, a colour's name, an image, a video or a folder of "
          "images; or over nothing: transparent")
      ->type_name("BACKGROUND");
  verb.add_option("--codec", arguments.run.codec,
                  "h264, hevc, vp9, prores, ffv1 or mjpeg, as far as the container takes it "
                  "(default: h264; vp9 in .webm, mjpeg in .avi; rgba: prores, vp9, ffv1)");
  verb.add_option("--quality", arguments.run.quality, "Of h264, hevc, vp9 and mjpeg (default 75)")
      ->check(whole_number_within(1, 100));
  verb.add_option_function<std::string>(
          "--audio",
          [&arguments](const std::string& text) { arguments.run.source.sound = text == "copy"; },
          "Sound of the input, where the output can hold it (default copy)")
      ->check(CLI::IsMember({"copy", "off"}))
      ->type_name("copy|off");
}

void add_input_options(CLI::App& verb, RunArguments& arguments) {
  media::SourceOptions& source = arguments.run.source;
  verb.add_option("INPUT", arguments.run.input,
                  "Video, picture, folder of images, camera (/dev/video0), stream (rtsp://..., "
                  "pipe:0), or - for raw RGB24 frames on standard input")
      ->required();
  add_size_option(verb, "--input-size", source.raw_size, "Size of the frames on standard input");
  add_rate_option(verb, "--input-rate", source.rate,
                  "Frames a second of an image folder or of standard input (default 25)");
  verb.add_flag("--stills", arguments.run.stills,
                "Images of the folder are unrelated: each is matted by itself, whatever its size");
  verb.add_option_function<std::string>(
          "--reset-at-cuts",
          [&arguments](const std::string& text) { arguments.run.reset_at_cuts = text == "on"; },
          "Let the network start anew where the film cuts to another scene (default on)")
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("on|off");
  add_time_option(verb, "--from", source.begin, "Begin with the frame at this time");
  add_time_option(verb, "--to", source.end, "End before the frame at this time");
  add_time_option(verb, "--warm-up", source.warm_up,
                  "With --from: let the network see so much before it (default 0)");
}

}  // namespace

void add_run(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("run", "Matte a clip");
  const auto arguments = std::make_shared<RunArguments>();
  arguments->run.source.sound = true;
  verb->add_option("MODEL", arguments->model,
                   "Compiled libraries (a folder or .a), a .mattec file or a float network")
      ->required();
  add_input_options(*verb, *arguments);
  add_output_options(*verb, *arguments);
  add_threads_option(*verb, arguments->options.threads);
  add_size_option(*verb, "--size", arguments->options.size,
                  "Size to matte at (models that are not compiled; default: the clip's)");
  add_ratio_option(*verb, arguments->options.downsample_ratio, "Of float networks with a refiner");
  verb->callback([arguments] { run(*arguments); });
}

}  // namespace mattec::tools
