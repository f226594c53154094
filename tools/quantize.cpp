// mattec quantize: a float network and calibration clips in, a .mattec file out.
#include <fmt/core.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "base/error.h"
#include "base/fnv1a.h"
#include "base/interrupt.h"
#include "base/note.h"
#include "base/staged_path.h"
#include "base/text.h"
#include "frontend/read_network.h"
#include "media/truth.h"
#include "quant/calibration_options.h"
#include "quant/policy.h"
#include "tools/calibration_clips.h"
#include "tools/checkpoint.h"
#include "tools/engine.h"
#include "tools/overwriting.h"
#include "tools/progress.h"
#include "tools/quantize_network.h"
#include "tools/quantize_report.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

struct QuantizeArguments {
  std::string model, output;
  std::vector<std::string> calibration, truth;
  std::string bits = "w8a8", policy, method = "gptq";
  std::string gac, ofa;  // empty: as the method has it
  std::optional<ir::Size> size, truth_size;
  media::TruthOptions truth_options;
  double budget_minutes = 10;
  uint64_t seed = 0;
  bool resume = false;
};

quant::Method method_named(const std::string& name) {
  if (name == "minmax") return quant::Method::minmax;
  if (name == "mse") return quant::Method::mse;
  return quant::Method::gptq;
}

std::optional<quant::Reconstruction> reconstruction_named(const std::string& method) {
  if (method == "brecq") return quant::Reconstruction::brecq;
  if (method == "qdrop") return quant::Reconstruction::qdrop;
  return std::nullopt;
}

bool is_on(const std::string& choice, const std::string& method) {
  return choice.empty() ? method == "ptq4vm" : choice == "on";
}

// Before minutes of work, not after. Also removes what a killed command left of these outputs.
void require_writable(const QuantizeArguments& arguments) {
  const std::string& output = arguments.output;
  std::vector<std::string> inputs = {arguments.model, arguments.policy,
                                     arguments.truth_options.backgrounds};
  inputs.insert(inputs.end(), arguments.calibration.begin(), arguments.calibration.end());
  inputs.insert(inputs.end(), arguments.truth.begin(), arguments.truth.end());
  std::error_code error;
  for (const std::string& file : {output, json_path(output), html_path(output)}) {
    if (fs::is_directory(file, error)) throw Error(file + ": is a folder; name another file");
    require_not_read(file, inputs);
    const StagedPath trial(file, StagedPath::Kind::file);
  }
  // It is replaced, and removed when the result is written.
  const std::string checkpoint = checkpoint_path(output);
  for (const std::string& file : checkpoint_files(checkpoint)) require_not_read(file, inputs);
  const StagedPath trial(checkpoint, StagedPath::Kind::folder);
}

std::vector<media::TruthClip> truth_clips(const QuantizeArguments& arguments) {
  if (arguments.truth.empty()) return {};
  media::TruthOptions options = arguments.truth_options;
  options.seed = arguments.seed;
  return media::find_truth(arguments.truth, options);
}

QuantizeReport report_for(const QuantizeArguments& arguments, const std::string& policy) {
  QuantizeReport report;
  report.model = arguments.model;
  report.output = arguments.output;
  report.bits = policy;
  report.settings = {{"method", arguments.method},
                     {"gac", is_on(arguments.gac, arguments.method) ? "on" : "off"},
                     {"ofa", is_on(arguments.ofa, arguments.method) ? "on" : "off"},
                     {"seed", std::to_string(arguments.seed)}};
  report.size = arguments.size.value_or(ir::Size{288, 512});
  return report;
}

// A file's name with a hash of what it holds; the name alone where it is no file.
std::string with_hash(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  return stream ? fmt::format("{} ({:016x})", file, fnv1a(bytes.data(), bytes.size())) : file;
}

// What the bits of the result depend on, as a checkpoint notes it. Clips by their names.
std::string command_of(const QuantizeReport& report, const QuantizeArguments& arguments) {
  std::string command = fmt::format(
      "{} --bits or --policy {} --size {}x{} --budget-minutes {}", with_hash(report.model),
      with_hash(report.bits), report.size.width, report.size.height, arguments.budget_minutes);
  for (const auto& [name, value] : report.settings) command += fmt::format(" --{} {}", name, value);
  command += " --calibration";
  for (const std::string& clip : report.clips) command += " " + clip;
  if (arguments.truth.empty()) return command;
  const media::TruthOptions& truth = arguments.truth_options;
  for (const std::string& clip : arguments.truth) command += " --truth " + clip;
  return command + fmt::format(" --backgrounds {} --clips {} --frames {} --motion {}",
                               truth.backgrounds, truth.clips.value_or(0), truth.frames.value_or(0),
                               truth.motion ? int{*truth.motion} : -1);
}

void print_summary(const QuantizeReport& report, const std::string& method) {
  fmt::print("{}: {}, {} by {}, {:.2f} MB, calibrated on {} clips in {}\n",
             printable(report.output), printable(report.quantized.name), printable(report.bits),
             method, static_cast<double>(fs::file_size(report.output)) / 1e6, report.clips.size(),
             duration_text(report.seconds));
  const quant::LowBitShare low = quant::low_bit_share(report.quantized, report.size);
  if (low.share > 0) fmt::print("{:.1f} % of the multiplications are 4 x 4 bit\n", 100 * low.share);
  fmt::print("{}: errors layer by layer, mattes\n", printable(html_path(report.output)));
  std::fflush(stdout);
}

void quantize(const QuantizeArguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  require_writable(arguments);
  if (!arguments.policy.empty()) require_policy(arguments.policy);
  const ir::Graph imported = frontend::read_network(arguments.model);
  if (!imported.find_output("fgr", ir::Variant::direct))
    note(arguments.model + ": gives no foreground; composites take the frame's own colours");
  const std::vector<media::TruthClip> truth = truth_clips(arguments);
  QuantizeOptions options;
  options.policy = arguments.policy.empty() ? arguments.bits : arguments.policy;
  options.calibration.method = method_named(arguments.method);
  options.calibration.seed = arguments.seed;
  options.reconstruction = reconstruction_named(arguments.method);
  options.gac = is_on(arguments.gac, arguments.method);
  options.ofa = is_on(arguments.ofa, arguments.method);
  options.budget_minutes = arguments.budget_minutes;
  QuantizeReport report = report_for(arguments, options.policy);
  report.clips = find_clips(arguments.calibration);
  options.checkpoint = checkpoint_path(arguments.output);
  options.command = command_of(report, arguments);
  options.resume = arguments.resume;
  options.truth = truth;
  report.quantized = quantize_network(imported, report.clips, report.size, options, &report.record);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  report.seconds = took.count();
  {
    const InterruptKeepsWork keeps;
    write_with_report(report);
  }
  if (!report.record.unfinished) remove_checkpoint(options.checkpoint);
  print_summary(report, arguments.method);
  if (truth.empty() || report.record.interrupted) return;
  // Minutes: what is written stays, whatever happens here.
  ModelOptions at_size;
  at_size.size = arguments.truth_size;
  report.truth = compare_on_truth(*open_model(arguments.model, at_size),
                                  *open_model(arguments.output, at_size), truth);
  print_comparison(report.truth, report.bits);
  write_report(report);
}

}  // namespace

void add_quantize(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("quantize", "Turn a float network into an integer one");
  const auto arguments = std::make_shared<QuantizeArguments>();
  verb->add_option("MODEL", arguments->model, "Network: .torchscript, .pt, .pth or .safetensors")
      ->required();
  verb->add_option("--calibration", arguments->calibration,
                   "Videos, folders of images, or folders of such; no mattes needed")
      ->required()
      ->type_name("PATH");
  CLI::Option* truth =
      verb->add_option(
              "--truth", arguments->truth,
              "Clips with exact mattes, folders as eval takes them: the result is compared "
              "with the float network on them, and --gac and --ofa learn from them, too")
          ->type_name("CLIP");
  add_truth_options(*verb, arguments->truth_options)->needs(truth);
  verb->get_option("--frames")->needs(truth);
  add_size_option(*verb, "--truth-size", arguments->truth_size,
                  "Size to compare at (default: each clip's own)")
      ->needs(truth);
  CLI::Option* bits = verb->add_option("--bits", arguments->bits, "Of weights and activations")
                          ->check(one_of({"w8a8", "w4a8", "w4a4"}))
                          ->capture_default_str();
  verb->add_option("--policy", arguments->policy,
                   "Instead of --bits: w4a4-96 (more at 4 bits than w4a4), or a .json file that "
                   "says which tensors and weights have 4 or 8 bits")
      ->check(not_empty())
      ->excludes(bits);
  verb->add_option("--method", arguments->method, "How ranges and roundings are found")
      ->check(one_of({"minmax", "mse", "gptq", "brecq", "qdrop", "ptq4vm"}))
      ->capture_default_str();
  verb->add_option("--gac", arguments->gac,
                   "Train gains, shifts and scales of activations against the float network's "
                   "mattes (default: on for ptq4vm alone)")
      ->check(one_of({"on", "off"}));
  verb->add_option("--ofa", arguments->ofa,
                   "Train against changes of the matte that the motion does not explain (default: "
                   "on for ptq4vm alone; without --gac scales alone are trained)")
      ->check(one_of({"on", "off"}));
  add_size_option(*verb, "--size", arguments->size,
                  "Size of the calibration frames (default 512x288); the result serves any size");
  verb->add_option(
          "--budget-minutes", arguments->budget_minutes,
          "Of all but the comparison on --truth, where something is trained (brecq and qdrop "
          "do). Ctrl-C ends training early, too: the best so far is written, and --resume "
          "goes on")
      ->check(number_within(0.001, 100000))
      ->capture_default_str();
  verb->add_flag("--resume", arguments->resume,
                 "Go on where Ctrl-C ended the same command while it trained");
  add_seed_option(*verb, arguments->seed, "Of everything random");
  verb->add_option(
          "-o,--output", arguments->output,
          "The .mattec file to write; its report goes beside it, OUT.report.html and .json")
      ->required()
      ->check([](const std::string& path) {
        return fs::path(path).extension() == ".mattec" ? std::string()
                                                       : path + " does not end in .mattec";
      });
  verb->callback([arguments] { quantize(*arguments); });
}

}  // namespace mattec::tools
