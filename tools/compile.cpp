// mattec compile: a .mattec file in, one static library per target out.
#include "targets/compile.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/staged_path.h"
#include "base/text.h"
#include "ir/model_file.h"
#include "targets/library_files.h"
#include "tools/compile_network.h"
#include "tools/overwriting.h"
#include "tools/progress.h"
#include "tools/verbs.h"

namespace mattec::tools {
namespace {

namespace fs = std::filesystem;

struct CompileArguments {
  std::string model, output;
  std::vector<std::string> targets;
  std::optional<ir::Size> size;
  double downsample_ratio = 1;
  bool warp = false;
  std::string name = "rvm";
};

// All that the command line can get wrong, before the model is read.
void require_possible(const CompileArguments& arguments) {
  std::set<std::string> seen;
  for (const std::string& target : arguments.targets) {
    targets::CompileOptions options;
    options.target = target;
    options.size = *arguments.size;
    options.name = arguments.name;
    targets::require_valid(options);
    if (!seen.insert(target).second) throw UsageError("--target names " + target + " twice");
  }
  if (arguments.downsample_ratio != 1)
    throw UsageError(
        "--downsample-ratio: this version of mattec does not compile the refiner; use 1, "
        "and compile for the size at which to matte");
  if (arguments.warp)
    throw UsageError(
        "--warp: this version of mattec does not compile the warp stage; leave it out");
  targets::require_places(arguments.targets, arguments.name, arguments.output);
  for (const std::string& target : arguments.targets)
    for (const std::string& file : targets::library_files(arguments.name))
      require_not_read((fs::path(arguments.output) / target / file).string(), {arguments.model});
}

void compile(const CompileArguments& arguments) {
  require_possible(arguments);
  const ir::Graph graph = ir::read_model(arguments.model);
  if (graph.stage != ir::Stage::quantized)
    throw Error(arguments.model + ": is not quantized; make a .mattec file with mattec quantize");
  // Everything is compiled before the first file shows: a failure leaves nothing.
  std::vector<targets::CompiledLibrary> libraries;
  for (const std::string& target : arguments.targets)
    libraries.push_back(compile_network(graph, target, *arguments.size, arguments.name));
  targets::place_libraries(libraries, arguments.name, arguments.output);
  for (const targets::CompiledLibrary& library : libraries) {
    const fs::path folder = fs::path(arguments.output) / library.target;
    const std::string archive = (folder / ("lib" + arguments.name + ".a")).string();
    fmt::print("{}: {} at {}, {:.2f} MB\n", printable(archive), printable(graph.name),
               size_text(*arguments.size), static_cast<double>(library.archive.size()) / 1e6);
  }
}

}  // namespace

targets::CompiledLibrary compile_network(const ir::Graph& graph, const std::string& target,
                                         ir::Size size, const std::string& name) {
  targets::CompileOptions options;
  options.target = target;
  options.size = size;
  options.name = name;
  options.threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  Progress progress("compile", std::nullopt);
  options.progress = [&progress](double fraction, const std::string& what) {
    progress.reach(fraction, what);
  };
  targets::CompiledLibrary library = targets::compile(graph, options);
  library.target = target;  // the folder is called what the user called it: "host"
  return library;
}

void add_compile(CLI::App& mattec) {
  CLI::App* verb = mattec.add_subcommand("compile", "Turn an integer network into a library");
  const auto arguments = std::make_shared<CompileArguments>();
  std::string known;
  for (const targets::Target& target : targets::known_targets()) known += target.name + ", ";
  verb->add_option("FILE", arguments->model, "A .mattec file that mattec quantize wrote")
      ->required();
  verb->add_option("--target", arguments->targets, "One or several of: " + known + "host")
      ->required()
      ->delimiter(',')
      ->type_name("T[,T...]");
  add_size_option(*verb, "--size", arguments->size, "Size of the frames that the library takes")
      ->required();
  add_ratio_option(*verb, arguments->downsample_ratio, "Of the refiner; 1 = without");
  verb->add_flag("--warp", arguments->warp, "With the flow-warped temporal blend");
  verb->add_option("--name", arguments->name,
                   "Of the library: lib<name>.a, <name>.h, the prefix of every symbol")
      ->capture_default_str();
  verb->add_option("-o,--output", arguments->output, "Folder that gets a folder per target")
      ->required()
      ->check(not_empty())
      ->type_name("DIR");
  verb->callback([arguments] { compile(*arguments); });
}

}  // namespace mattec::tools
