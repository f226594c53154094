// mattec demo: the whole way, with the network inside mattec and clips made by rule.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/staged_path.h"
#include "ir/model_file.h"
#include "media/frame_sink.h"
#include "media/scale.h"
#include "nano/clip_generator.h"
#include "nano/embedded.h"
#include "targets/library_files.h"
#include "tools/bench_library.h"
#include "tools/compile_network.h"
#include "tools/evaluate_clip.h"
#include "tools/progress.h"
#include "tools/quantize_network.h"
#include "tools/run_clip.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr ir::Size demo_size = {144, 256};
constexpr int clip_frames = 48;
constexpr int calibration_clips = 4, calibration_frames = 24;
// The trainer leaves seeds from here on alone.
constexpr uint64_t clip_seed = 1'000'005, calibration_seed = 1'000'100;
constexpr char name[] = "nano";
// Marks the folder as the demo's own, which the next run may replace.
constexpr char report_file[] = "report.json";

struct DemoArguments {
  std::string output = "mattec-demo";
  int threads = 1;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

media::Image image_of(const std::vector<uint8_t>& pixels, int channels) {
  media::Image image(demo_size, channels);
  image.pixels = pixels;
  return image;
}

void generate_clip(uint64_t seed, int frames, const std::string& folder) {
  const nano::ClipGenerator generator(seed, demo_size.width, demo_size.height);
  fs::create_directories(folder);
  const std::unique_ptr<media::FrameSink> frame_sink = media::open_sink(folder + "/src", {});
  const std::unique_ptr<media::FrameSink> matte_sink = media::open_sink(folder + "/pha", {});
  Progress progress("generate", frames);
  for (int i = 0; i < frames; ++i) {
    const nano::ClipFrame frame = generator.frame(i);
    const std::string frame_name = fmt::format("{:04}", i);
    frame_sink->write(image_of(frame.frame, 3), {frame_name, i});
    matte_sink->write(image_of(frame.alpha, 1), {frame_name, i});
    progress.count(i + 1, "frames");
  }
  frame_sink->finish();
  matte_sink->finish();
}

// The backbone of the project, shown: library and integer interpreter agree in every byte.
int count_identical_frames(const Model& library, const Model& interpreter,
                           const std::string& clip) {
  constexpr int frames_to_compare = 12;
  const std::unique_ptr<media::FrameSource> source = media::open_source(clip, {});
  const std::unique_ptr<Engine> first = library.start(demo_size);
  const std::unique_ptr<Engine> second = interpreter.start(demo_size);
  media::Image frame, alpha[2], foreground[2];
  for (int i = 0; i < frames_to_compare; ++i) {
    if (!source->next(frame)) return i;
    first->step(frame, alpha[0], &foreground[0]);
    second->step(frame, alpha[1], &foreground[1]);
    if (alpha[0].pixels != alpha[1].pixels || foreground[0].pixels != foreground[1].pixels)
      throw Error(
          fmt::format("frame {} of the library differs from the integer interpreter's; "
                      "this is a defect of mattec, please report it",
                      i));
  }
  return frames_to_compare;
}

// Refuses a folder that is someone else's before minutes of work.
void require_own_folder(const std::string& output) {
  std::error_code error;
  if (!fs::exists(output, error)) return;
  if (fs::is_directory(output, error) &&
      (fs::is_empty(output, error) || fs::exists(fs::path(output) / report_file, error)))
    return;
  throw Error(output + ": exists and is not from an earlier demo; name another folder with -o");
}

void write_report(const std::string& file, const quant::MattingScores& with_float,
                  const quant::MattingScores& compiled, const BenchResult& bench) {
  const nlohmann::ordered_json report = {{"mad_float", with_float.mad},
                                         {"mad_compiled", compiled.mad},
                                         {"target", bench.target},
                                         {"ms_min", bench.ms_min},
                                         {"threads", bench.threads}};
  const std::string text = report.dump(2) + "\n";
  write_file(file, text.data(), text.size(), report_file);
}

void line(const std::string& what, const std::string& result) {
  fmt::print("{:<12}{}\n", what, result);
  std::fflush(stdout);
}

// One step of the demo after the other; every file under one staged folder.
class Demo {
 public:
  explicit Demo(const DemoArguments& arguments)
      : arguments_(arguments), staged_(arguments.output, StagedPath::Kind::folder) {}

  void run() {
    staged_.with_final_name([this] {
      quantize();
      compile();
      matte();
      report();
    });
    staged_.replace_folder();
    fmt::print("\nEverything is in {}: look at composite.mp4.\n", arguments_.output);
  }

 private:
  std::string path(const std::string& file) const { return staged_.path() + "/" + file; }

  void quantize() {
    const Clock::time_point start = Clock::now();
    std::vector<std::string> clips;
    for (int i = 0; i < calibration_clips; ++i) {
      generate_clip(calibration_seed + static_cast<uint64_t>(i), calibration_frames,
                    path(fmt::format("calibration/{}", i)));
      clips.push_back(path(fmt::format("calibration/{}/src", i)));
    }
    generate_clip(clip_seed, clip_frames, path("clip"));
    line("clips",
         fmt::format("{} to calibrate on, one of {} frames to matte, {} ({})", calibration_clips,
                     clip_frames, size_text(demo_size), duration_text(seconds_since(start))));
    const Clock::time_point quantizing = Clock::now();
    graph_ = quantize_network(nano::nano_network(), clips, demo_size, {});
    ir::write_model(graph_, path("nano.w8a8.mattec"));
    line("quantize", fmt::format("8-bit weights and activations: nano.w8a8.mattec, {:.2f} MB ({})",
                                 static_cast<double>(fs::file_size(path("nano.w8a8.mattec"))) / 1e6,
                                 duration_text(seconds_since(quantizing))));
  }

  void compile() {
    const Clock::time_point start = Clock::now();
    const targets::CompiledLibrary library = compile_network(graph_, "host", demo_size, name);
    targets::write_library(library, name, staged_.path());
    line("compile", fmt::format("host/libnano.a, {:.2f} MB ({})",
                                static_cast<double>(library.archive.size()) / 1e6,
                                duration_text(seconds_since(start))));
  }

  void matte() {
    ModelOptions threads;
    threads.threads = arguments_.threads;
    library_ = open_model(path("host"), threads);
    RunOptions options;
    options.input = path("clip/src");
    options.output = path("matte");
    run_clip(*library_, options);
    options.output = path("composite.mp4");
    options.kind = OutputKind::composite;
    options.background = "#20a050";
    const RunReport run = run_clip(*library_, options);
    line("run", fmt::format("{} frames: matte/, composite.mp4", run.frames));
    bench_ = bench_library(path("host/libnano.a"), arguments_.threads, 30);
    line("speed", fmt::format("{:.2f} ms a frame on {} thread(s), target {}", bench_.ms_min,
                              bench_.threads, bench_.target));
  }

  void report() {
    const std::unique_ptr<Model> interpreter = open_model(path("nano.w8a8.mattec"), {});
    const int identical = count_identical_frames(*library_, *interpreter, path("clip/src"));
    line("identical",
         fmt::format("library = integer interpreter, all bytes of {} frames", identical));
    const std::string weights = path("nano.safetensors");
    write_file(weights, nano::weight_file, nano::weight_file_size, "nano.safetensors");
    const std::unique_ptr<Model> with_float = open_model(weights, {});
    const std::vector<quant::MattingScores> scores = {evaluate_clip(*with_float, path("clip")),
                                                      evaluate_clip(*library_, path("clip"))};
    fmt::print("\nagainst the clip's exact matte:\n");
    for (size_t i = 0; i < 2; ++i)
      fmt::print("  {:<10} MAD {:.3f} e-3   MSE {:.3f} e-3   dtSSD {:.3f} e-2\n",
                 i == 0 ? "float" : "compiled", scores[i].mad, scores[i].mse, scores[i].dtssd);
    write_report(path(report_file), scores[0], scores[1], bench_);
  }

  DemoArguments arguments_;
  StagedPath staged_;
  ir::Graph graph_;
  std::unique_ptr<Model> library_;
  BenchResult bench_;
};

}  // namespace

void add_demo(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand(
      "demo", "Quantize, compile and run the network inside mattec on a generated clip");
  const auto arguments = std::make_shared<DemoArguments>();
  verb->add_option("-o,--output", arguments->output, "Folder for everything it makes")
      ->check(not_empty())
      ->capture_default_str();
  add_threads_option(*verb, arguments->threads);
  verb->callback([arguments] {
    require_own_folder(arguments->output);
    Demo(*arguments).run();
  });
}

}  // namespace mattec::tools
