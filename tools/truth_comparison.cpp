#include "tools/truth_comparison.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/evaluate_clip.h"

namespace mattec::tools {
namespace {

std::string ratio_columns(double mad, double dtssd) {
  return fmt::format("  {:>9.3f}  {:>11.3f}", mad, dtssd);
}

}  // namespace

std::vector<TruthComparison> compare_on_truth(const Model& with_float, const Model& quantized,
                                              const std::vector<media::TruthClip>& clips) {
  std::vector<TruthComparison> comparisons;
  comparisons.reserve(clips.size());
  for (const media::TruthClip& clip : clips)
    comparisons.push_back(
        {clip.name, evaluate_clip(with_float, clip), evaluate_clip(quantized, clip)});
  return comparisons;
}

double geometric_mean(const std::vector<TruthComparison>& comparisons,
                      double (TruthComparison::*ratio)() const) {
  double sum = 0;
  for (const TruthComparison& comparison : comparisons) sum += std::log((comparison.*ratio)());
  return std::exp(sum / static_cast<double>(comparisons.size()));
}

void print_comparison(const std::vector<TruthComparison>& comparisons, const std::string& bits) {
  size_t width = std::string("geometric mean").size();
  for (const TruthComparison& comparison : comparisons)
    width = std::max(width, comparison.clip.size() + 2 + std::max<size_t>(5, bits.size()));
  print_score_headings(width, "  MAD ratio  dtSSD ratio");
  for (const TruthComparison& comparison : comparisons) {
    print_score_row(comparison.clip + ", float", width, comparison.with_float);
    print_score_row(comparison.clip + ", " + bits, width, comparison.quantized,
                    ratio_columns(comparison.mad_ratio(), comparison.dtssd_ratio()));
  }
  if (comparisons.size() > 1)
    fmt::print("{:<{}}  {:>57}{}\n", "geometric mean", width, "",
               ratio_columns(geometric_mean(comparisons, &TruthComparison::mad_ratio),
                             geometric_mean(comparisons, &TruthComparison::dtssd_ratio)));
}

nlohmann::ordered_json scores_json(const quant::MattingScores& scores) {
  return {{"mad", scores.mad},
          {"mse", scores.mse},
          {"grad", scores.grad},
          {"conn", scores.conn},
          {"dtssd", scores.dtssd}};
}

void print_score_headings(size_t width, const std::string& more) {
  fmt::print("{:<{}}  {:>6}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}{}\n", "clip", width, "frames",
             "MAD e-3", "MSE e-3", "Grad", "Conn", "dtSSD e-2", more);
}

void print_score_row(const std::string& name, size_t width, const quant::MattingScores& scores,
                     const std::string& more) {
  fmt::print("{:<{}}  {:>6}  {:>8.3f}  {:>8.3f}  {:>8.4f}  {:>8.4f}  {:>9.3f}{}\n", name, width,
             scores.frames, scores.mad, scores.mse, scores.grad, scores.conn, scores.dtssd, more);
}

}  // namespace mattec::tools
