#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "Halide.h"
#include "generators/generators.h"
#include "ir/error.h"
#include "schedules/schedule.h"
#include "targets/objects.h"

namespace mattec::targets {
namespace {

// Halide writes files; a folder of our own keeps them apart from other processes'.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mattec-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
      throw Error("cannot make a folder in " + std::filesystem::temp_directory_path().string() +
                  "; set TMPDIR to a writable one");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// Static shapes need no bounds queries and no checks; strict_float pins every rounding.
Halide::Target halide_target(const Target& target) {
  using Feature = Halide::Target::Feature;
  return Halide::Target(target.halide)
      .with_feature(Feature::NoAsserts)
      .with_feature(Feature::NoBoundsQuery)
      .with_feature(Feature::NoRuntime)
      .with_feature(Feature::StrictFloat);
}

}  // namespace

Bytes compile_kernel(const lower::Kernel& kernel, const std::string& symbol, const Target& target) {
  try {
    generators::Pipeline pipeline = generators::build(kernel);
    schedules::apply(kernel, target.machine, pipeline);
    Halide::Module module =
        pipeline.output.compile_to_module(pipeline.arguments, symbol, halide_target(target));
    const TemporaryFolder folder;
    const std::string path = folder.file("kernel.o");
    module.compile({{Halide::OutputFileType::object, path}});
    Bytes bytes = read_file(path);
    if (bytes.empty()) throw Error("kernel " + symbol + ": no object code; is the disk full?");
    return bytes;
  } catch (const Halide::Error& error) {  // not a std::exception
    throw Error("kernel " + symbol + " (" + lower::name_of(kernel) + "): " + error.what());
  }
}

}  // namespace mattec::targets
