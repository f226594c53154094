// Compiled libraries as files, and other programs' view of them.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "ir/graph.h"
#include "targets/compile.h"
#include "targets/library_files.h"
#include "tests/kernel_graphs.h"

namespace mattec::test {

// A folder that disappears with the object.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = testing::TempDir() + "mattec-test-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "cannot make " << pattern;
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

inline void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

struct Outcome {
  int status = -1;  // exit status
  std::string output;
};

// Runs a shell command; standard error comes with the output.
inline Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* pipe = ::popen(("(" + command + ") 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> buffer{};
  for (size_t got; (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    outcome.output.append(buffer.data(), got);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

// A random network that has every kind of kernel.
inline const ir::Graph& example_graph() {
  static const ir::Graph graph = random_matting_graph(1, 20);
  return graph;
}

inline targets::CompiledLibrary compile_example(const std::string& target, const std::string& name,
                                                ir::Size size = {32, 48}, int threads = 2) {
  targets::CompileOptions options;
  options.target = target;
  options.name = name;
  options.size = size;
  options.threads = threads;
  return targets::compile(example_graph(), options);
}

}  // namespace mattec::test
