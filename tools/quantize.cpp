// mattec quantize: a float network and calibration clips in, a .mattec file out.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <memory>

#include "frontend/fuse.h"
#include "frontend/read_network.h"
#include "ir/error.h"
#include "ir/model_file.h"
#include "quant/calibrate.h"
#include "tools/calibration_clips.h"
#include "tools/evaluate_clip.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/quantize_network.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

struct QuantizeArguments {
  std::string model, output;
  std::vector<std::string> calibration, truth;
  std::string bits = "w8a8", method = "gptq", gac = "off", ofa = "off";
  std::optional<ir::Size> size;
  double budget_minutes = 0;
  uint64_t seed = 0;
};

quant::Method method_named(const std::string& name) {
  if (name == "minmax") return quant::Method::minmax;
  if (name == "mse") return quant::Method::mse;
  return quant::Method::gptq;
}

// What the contract of the command line names but this version does not do is an error, never
// silently something else.
void require_available(const QuantizeArguments& arguments) {
  const auto refuse = [](const std::string& option, const std::string& instead) {
    throw Error(
        fmt::format("{}: this version of mattec does not have it; use {}", option, instead));
  };
  if (arguments.bits != "w8a8") refuse("--bits " + arguments.bits, "w8a8");
  if (arguments.method != "minmax" && arguments.method != "mse" && arguments.method != "gptq")
    refuse("--method " + arguments.method, "gptq, mse or minmax");
  if (arguments.gac != "off") refuse("--gac on", "--gac off");
  if (arguments.ofa != "off") refuse("--ofa on", "--ofa off");
}

// Before minutes of work, not after.
void require_writable(const std::string& output) {
  const fs::path folder = fs::path(output).parent_path();
  std::error_code error;
  if (!folder.empty() && !fs::is_directory(folder, error))
    throw Error(
        fmt::format("{}: the folder {} does not exist; create it first", output, folder.string()));
  if (fs::is_directory(output, error)) throw Error(output + ": is a folder; name a file");
}

void compare_with_float(const QuantizeArguments& arguments) {
  if (arguments.truth.empty()) return;
  std::vector<std::string> names;
  std::vector<quant::MattingScores> scores;
  for (const std::string& path : {arguments.model, arguments.output}) {
    const std::unique_ptr<Model> model = open_model(path, {});
    for (const std::string& clip : arguments.truth) {
      names.push_back(fs::path(clip).filename().string() +
                      (path == arguments.model ? ", float" : ", " + arguments.bits));
      scores.push_back(evaluate_clip(*model, clip));
    }
  }
  print_scores(names, scores);
}

void quantize(const QuantizeArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  require_available(arguments);
  require_writable(arguments.output);
  const ir::Graph imported = frontend::read_network(arguments.model);
  const std::vector<std::string> clips = find_clips(arguments.calibration);
  quant::CalibrationOptions options;
  options.method = method_named(arguments.method);
  options.seed = arguments.seed;
  const ir::Graph quantized =
      quantize_network(imported, clips, arguments.size.value_or(ir::Size{288, 512}), options);
  ir::write_model(quantized, arguments.output);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  fmt::print("{}: {}, {} by {}, {:.2f} MB, calibrated on {} clips in {}\n", arguments.output,
             quantized.name, arguments.bits, arguments.method,
             static_cast<double>(fs::file_size(arguments.output)) / 1e6, clips.size(),
             duration_text(took.count()));
  compare_with_float(arguments);
}

}  // namespace

ir::Graph quantize_network(const ir::Graph& imported, const std::vector<std::string>& clips,
                           ir::Size size, const quant::CalibrationOptions& options) {
  const ir::Graph fused = frontend::fuse(ir::extract(imported, ir::Variant::direct));
  std::vector<quant::Clip> frames;
  {
    Progress progress("reading clips", static_cast<int64_t>(clips.size()));
    for (const std::string& clip : clips) {
      frames.push_back(load_calibration_clip(clip, size, options.frames_per_clip));
      progress.count(static_cast<int64_t>(frames.size()), "clips");
    }
  }
  Progress progress("quantize", std::nullopt);
  return quant::quantize(
      fused, frames, options,
      [&progress](double fraction, const std::string& what) { progress.reach(fraction, what); });
}

void add_quantize(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("quantize", "Turn a float network into an integer one");
  const auto arguments = std::make_shared<QuantizeArguments>();
  verb->add_option("MODEL", arguments->model, "Network: .torchscript, .pt, .pth or .safetensors")
      ->required();
  verb->add_option("--calibration", arguments->calibration,
                   "Videos, folders of images, or folders of such; no mattes needed")
      ->required()
      ->type_name("PATH");
  verb->add_option("--truth", arguments->truth,
                   "Clips with src/ and pha/ on which to compare the result with the float network")
      ->type_name("CLIP");
  verb->add_option("--bits", arguments->bits, "Of weights and activations")
      ->check(CLI::IsMember({"w8a8", "w4a8", "w4a4"}))
      ->capture_default_str();
  verb->add_option("--method", arguments->method, "How ranges and roundings are found")
      ->check(CLI::IsMember({"minmax", "mse", "gptq", "brecq", "qdrop", "ptq4vm"}))
      ->capture_default_str();
  verb->add_option("--gac", arguments->gac, "Global affine calibration")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  verb->add_option("--ofa", arguments->ofa, "Optical-flow assistance")
      ->check(CLI::IsMember({"on", "off"}))
      ->capture_default_str();
  add_size_option(*verb, "--size", arguments->size,
                  "Size of the calibration frames (default 512x288); the result serves any size");
  verb->add_option("--budget-minutes", arguments->budget_minutes,
                   "Time for methods that train (none of minmax, mse, gptq does)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--seed", arguments->seed, "Of everything random")->capture_default_str();
  verb->add_option("-o,--output", arguments->output, "The .mattec file to write")
      ->required()
      ->check([](const std::string& path) {
        return fs::path(path).extension() == ".mattec" ? std::string()
                                                       : path + " does not end in .mattec";
      });
  verb->callback([arguments] { quantize(*arguments); });
}

}  // namespace mattec::tools
