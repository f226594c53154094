// mattec eval: mattes against the exact ones, by the five usual metrics.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "media/scale.h"
#include "media/truth.h"
#include "quant/metrics.h"
#include "tools/engine.h"
#include "tools/evaluate_clip.h"
#include "tools/json_text.h"
#include "tools/progress.h"
#include "tools/truth_comparison.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

using quant::MattingScores;
using Json = nlohmann::ordered_json;

struct EvalArguments {
  std::string model;
  std::vector<std::string> clips;
  ModelOptions options;
  media::TruthOptions truth;
  bool json = false;
};

void print_json(const std::vector<std::string>& names, const std::vector<MattingScores>& scores) {
  Json clips = Json::array();
  for (size_t i = 0; i < names.size(); ++i) {
    Json clip = {{"name", names[i]}, {"frames", scores[i].frames}};
    clip.update(scores_json(scores[i]));
    clips.push_back(clip);
  }
  fmt::print("{}\n", json_text({{"clips", clips}, {"mean", scores_json(quant::mean_of(scores))}}));
}

void eval(const EvalArguments& arguments) {
  const std::unique_ptr<Model> model = open_model(arguments.model, arguments.options);
  std::vector<std::string> names;
  std::vector<MattingScores> scores;
  for (const media::TruthClip& clip : media::find_truth(arguments.clips, arguments.truth)) {
    names.push_back(clip.name);
    scores.push_back(evaluate_clip(*model, clip));
  }
  if (arguments.json)
    print_json(names, scores);
  else
    print_scores(names, scores);
}

}  // namespace

void print_scores(const std::vector<std::string>& names, const std::vector<MattingScores>& scores) {
  std::vector<std::string> shown;
  shown.reserve(names.size());
  for (const std::string& name : names) shown.push_back(printable(name));
  size_t width = 4;
  for (const std::string& name : shown) width = std::max(width, name.size());
  print_score_headings(width);
  for (size_t i = 0; i < shown.size(); ++i) print_score_row(shown[i], width, scores[i]);
  if (names.size() > 1) print_score_row("mean", width, quant::mean_of(scores));
}

MattingScores evaluate_clip(const Model& model, const media::TruthClip& clip) {
  // As run does it: without distortion, and compared where the frame lies.
  const ir::Size size = model.size_for(clip.size);
  const media::Fit fit = media::fit(clip.takes_any_shape ? size : clip.size, {1, 1}, size);
  const std::unique_ptr<media::TruthSource> source = clip.open(fit.inner);
  const std::unique_ptr<Engine> engine = model.start(fit.outer);
  quant::MattingMetrics metrics;
  Progress progress("eval " + clip.name, clip.frames);
  media::Image frame, truth, fitted, outer_alpha, alpha;
  int64_t done = 0;
  while (source->next(frame, truth)) {
    media::scale_into(frame, fit, fitted);
    engine->step(fitted, outer_alpha, nullptr);
    media::crop(outer_alpha, fit, alpha);
    metrics.add(alpha.pixels.data(), truth.pixels.data(), alpha.size.width, alpha.size.height);
    progress.count(++done, "frames");
  }
  if (done == 0) throw Error(clip.name + ": no frame of it can be read");
  return metrics.scores();
}

MattingScores evaluate_clip(const Model& model, const std::string& clip) {
  return evaluate_clip(model, media::recorded_clip(clip));
}

void add_eval(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("eval", "Compare mattes with the exact ones");
  const auto arguments = std::make_shared<EvalArguments>();
  verb->add_option("MODEL", arguments->model,
                   "Compiled libraries (a folder or .a), a .mattec file or a float network")
      ->required();
  verb->add_option("CLIP", arguments->clips,
                   "Folders with the frames in src/ (or com/) and the mattes in pha/, folders with "
                   "foregrounds in fgr/ and their mattes in pha/, or folders of such")
      ->required();
  CLI::Option* backgrounds = add_truth_options(*verb, arguments->truth);
  add_seed_option(*verb, arguments->truth.seed, "Of everything random in composed clips")
      ->needs(backgrounds);
  add_threads_option(*verb, arguments->options.threads);
  add_size_option(*verb, "--size", arguments->options.size,
                  "Size to matte and compare at (models that are not compiled; default: each "
                  "clip's own)");
  add_ratio_option(*verb, arguments->options.downsample_ratio, "Of float networks with a refiner");
  verb->add_flag("--json", arguments->json, "Print one JSON object");
  verb->callback([arguments] { eval(*arguments); });
}

}  // namespace mattec::tools
