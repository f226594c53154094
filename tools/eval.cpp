// mattec eval: mattes against the exact ones, by the five usual metrics.
#include <fmt/core.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "ir/error.h"
#include "quant/metrics.h"
#include "tools/engine.h"
#include "tools/evaluate_clip.h"
#include "tools/frame_source.h"
#include "tools/progress.h"
#include "tools/scale.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;
using quant::MattingScores;
using Json = nlohmann::ordered_json;

struct EvalArguments {
  std::string model;
  std::vector<std::string> clips;
  ModelOptions options;
  bool json = false;
};

// ".../dancer/" -> "dancer"
std::string clip_name(const std::string& path) {
  fs::path normal = fs::path(path).lexically_normal();
  if (!normal.has_filename()) normal = normal.parent_path();
  return normal.filename().string();
}

Json to_json(const MattingScores& scores) {
  return {{"mad", scores.mad},
          {"mse", scores.mse},
          {"grad", scores.grad},
          {"conn", scores.conn},
          {"dtssd", scores.dtssd}};
}

void print_json(const std::vector<std::string>& names, const std::vector<MattingScores>& scores) {
  Json clips = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    Json clip = {{"name", names[i]}, {"frames", scores[i].frames}};
    clip.update(to_json(scores[i]));
    clips.push_back(clip);
  }
  fmt::print("{}\n", Json({{"clips", clips}, {"mean", to_json(quant::mean_of(scores))}}).dump(2));
}

void print_row(const std::string& name, size_t width, const MattingScores& scores) {
  fmt::print("{:<{}}  {:>6}  {:>8.3f}  {:>8.3f}  {:>8.4f}  {:>8.4f}  {:>9.3f}\n", name, width,
             scores.frames, scores.mad, scores.mse, scores.grad, scores.conn, scores.dtssd);
}

void eval(const EvalArguments& arguments) {
  const std::unique_ptr<Model> model = open_model(arguments.model, arguments.options);
  std::vector<std::string> names;
  std::vector<MattingScores> scores;
  for (const std::string& clip : arguments.clips) {
    names.push_back(clip_name(clip));
    scores.push_back(evaluate_clip(*model, clip));
  }
  if (arguments.json)
    print_json(names, scores);
  else
    print_scores(names, scores);
}

}  // namespace

void print_scores(const std::vector<std::string>& names, const std::vector<MattingScores>& scores) {
  size_t width = 4;
  for (const std::string& name : names) width = std::max(width, name.size());
  fmt::print("{:<{}}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}\n", "clip", width, "frames",
             "MAD e-3", "MSE e-3", "Grad", "Conn", "dtSSD e-2");
  for (size_t i = 0; i < names.size(); ++i) print_row(names[i], width, scores[i]);
  if (names.size() > 1) print_row("mean", width, quant::mean_of(scores));
}

MattingScores evaluate_clip(const Model& model, const std::string& clip) {
  for (const char* part : {"src", "pha"})
    if (!fs::is_directory(fs::path(clip) / part))
      throw Error(
          fmt::format("{}: has no folder {}; a clip to evaluate holds its frames in src and "
                      "their exact mattes in pha",
                      clip, part));
  SourceOptions gray;
  gray.channels = 1;
  const std::unique_ptr<FrameSource> frames = open_source((fs::path(clip) / "src").string(), {});
  const std::unique_ptr<FrameSource> mattes = open_source((fs::path(clip) / "pha").string(), gray);
  if (frames->expected_frames() != mattes->expected_frames())
    throw Error(fmt::format("{}: has {} frames in src and {} mattes in pha", clip,
                            *frames->expected_frames(), *mattes->expected_frames()));
  if (frames->size() != mattes->size())
    throw Error(fmt::format("{}: its frames are {}, its mattes {}", clip, size_text(frames->size()),
                            size_text(mattes->size())));

  const ir::Size size = model.size_for(frames->size());
  const std::unique_ptr<Engine> engine = model.start(size);
  quant::MattingMetrics metrics;
  Progress progress("eval " + clip_name(clip), frames->expected_frames());
  Image frame, matte, network_frame, truth, alpha;
  for (int64_t done = 1; frames->next(frame) && mattes->next(matte); ++done) {
    scale(frame, size, network_frame);
    scale(matte, size, truth);
    engine->step(network_frame, alpha, nullptr);
    metrics.add(alpha.pixels.data(), truth.pixels.data(), size.width, size.height);
    progress.count(done, "frames");
  }
  return metrics.scores();
}

void add_eval(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("eval", "Compare mattes with the exact ones");
  const auto arguments = std::make_shared<EvalArguments>();
  verb->add_option("MODEL", arguments->model,
                   "Compiled libraries (a folder or .a), a .mattec file or a float network")
      ->required();
  verb->add_option("CLIP", arguments->clips, "Folders with the frames in src/, the mattes in pha/")
      ->required();
  add_threads_option(*verb, arguments->options.threads);
  add_size_option(*verb, "--size", arguments->options.size,
                  "Size to matte and compare at (models that are not compiled; default: each "
                  "clip's own)");
  verb->add_option("--downsample-ratio", arguments->options.downsample_ratio,
                   "Of float networks with a refiner")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { eval(*arguments); });
}

}  // namespace mattec::tools
