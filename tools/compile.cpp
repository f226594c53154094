// mattec compile: a .mattec file in, one static library per target out.
#include "targets/compile.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/staged_path.h"
#include "ir/model_file.h"
#include "tools/compile_network.h"
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

void require_available(const CompileArguments& arguments) {
  for (const std::string& target : arguments.targets) targets::find_target(target);  // may throw
  if (arguments.downsample_ratio != 1)
    throw Error(
        "--downsample-ratio: this version of mattec does not compile the refiner; use 1, "
        "and compile for the size at which to matte");
  if (arguments.warp)
    throw Error("--warp: this version of mattec does not compile the warp stage; leave it out");
}

// Moves the files of one target beside what may already lie there.
void put_in_place(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to, error);
  for (fs::directory_iterator entry(from), end; !error && entry != end; ++entry)
    fs::rename(entry->path(), to / entry->path().filename(), error);
  if (error) throw Error(fmt::format("{}: cannot be written: {}", to.string(), error.message()));
}

void require_folder(const std::string& output) {
  std::error_code error;
  if (fs::exists(output, error) && !fs::is_directory(output, error))
    throw Error(output + ": is a file; name a folder for the libraries");
}

void compile(const CompileArguments& arguments) {
  require_available(arguments);
  require_folder(arguments.output);
  const ir::Graph graph = ir::read_model(arguments.model);
  if (graph.stage != ir::Stage::quantized)
    throw Error(arguments.model + ": is not quantized; make a .mattec file with mattec quantize");
  // Everything is compiled and written before the first file shows: a failure leaves nothing.
  const StagedPath staged(arguments.output, StagedPath::Kind::folder);
  std::vector<targets::CompiledLibrary> libraries;
  for (const std::string& target : arguments.targets) {
    libraries.push_back(compile_network(graph, target, *arguments.size, arguments.name));
    staged.with_final_name(
        [&] { targets::write_library(libraries.back(), arguments.name, staged.path()); });
  }
  for (const targets::CompiledLibrary& library : libraries) {
    const fs::path folder = fs::path(arguments.output) / library.target;
    put_in_place(fs::path(staged.path()) / library.target, folder);
    fmt::print("{}: {} at {}, {:.2f} MB\n", (folder / ("lib" + arguments.name + ".a")).string(),
               graph.name, size_text(*arguments.size),
               static_cast<double>(library.archive.size()) / 1e6);
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
      ->type_name("DIR");
  verb->callback([arguments] { compile(*arguments); });
}

}  // namespace mattec::tools
