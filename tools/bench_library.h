// What `mattec bench` does with one library, for the demo too.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/sizes.h"

namespace mattec::tools {

struct BenchResult {
  std::string library, target;
  ir::Size size;
  int threads = 1;
  double ms_min = 0, ms_median = 0;  // of one frame, without foreground
  std::optional<double> gmac;        // 1e9 multiply-accumulates a frame, from the manifest
  // gmac / ms_min against what this processor's dot-product instruction did in the same run.
  std::optional<double> percent_of_peak;
};

// Throws Error where the library cannot run here, and Interrupted.
BenchResult bench_library(const std::string& path, int threads, int iterations);

void print_bench(const std::vector<BenchResult>& results);

}  // namespace mattec::tools
