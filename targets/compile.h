// From a quantized graph to a static library with its header and manifest.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/sizes.h"
#include "lower/plan.h"
#include "targets/target.h"

namespace mattec::targets {

struct CompileOptions {
  std::string target = "host";
  ir::Size size;
  std::string name = "rvm";  // prefix of every symbol: a C identifier
  int threads = 2;           // that compile kernels
  bool keep_all = false;     // this and the next: see lower::Options
  double work_per_task = lower::Options().work_per_task;
  std::function<void(double fraction, const std::string& what)> progress;
};

struct CompiledLibrary {
  std::string target;
  lower::Plan plan;
  std::vector<uint8_t> archive;  // lib<name>.a
  std::string header;            // <name>.h
  std::string manifest;          // <name>.json
};

// Throws UsageError for options that no graph can be compiled with, and Error where this processor
// has none of the targets that "host" stands for.
void require_valid(const CompileOptions& options);

// `graph`: quantized, direct variant extracted or not. Throws Error for what cannot be compiled.
// The same graph and options give the same bytes, whatever the threads.
CompiledLibrary compile(const ir::Graph& graph, const CompileOptions& options);

}  // namespace mattec::targets
